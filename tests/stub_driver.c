/* A libcuda.so.1 for machines without a GPU. It names GPUs and can do nothing with them:

       gcc -shared -fPIC -o FOLDER/libcuda.so.1 stub_driver.c
       STUB_GPUS=8.6,9.0 LD_LIBRARY_PATH=FOLDER python ...

   STUB_GPUS: their compute capabilities, none by default.
   STUB_CUDA: the CUDA version the driver is for, default 11000. From 11080 on, the runtime demands
       proof of a genuine driver, and fails.
   STUB_INIT: what cuInit returns; by default 0, or 100 (no device) without GPUs, as NVIDIA's does. */

#include <stdlib.h>
#include <string.h>

static int number(const char *name, int otherwise) {
    const char *value = getenv(name);
    return value ? atoi(value) : otherwise;
}

static const char *gpu(int index) {
    const char *at = getenv("STUB_GPUS");
    while (at && *at && index--)
        at = (at = strchr(at, ',')) ? at + 1 : NULL;
    return at && *at ? at : NULL;
}

int cuInit(unsigned flags) { return number("STUB_INIT", gpu(0) ? 0 : 100); }

int cuDriverGetVersion(int *version) {
    *version = number("STUB_CUDA", 11000);
    return 0;
}

int cuDeviceGetCount(int *count) {
    for (*count = 0; gpu(*count); ++*count)
        ;
    return 0;
}

int cuDeviceGet(int *device, int index) {
    *device = index;
    return gpu(index) ? 0 : 101;
}

int cuDeviceGetAttribute(int *value, int attribute, int device) {
    const char *capability = gpu(device);
    if (!capability)
        return 101;
    *value = attribute == 75 ? atoi(capability)
           : attribute == 76 ? atoi(strchr(capability, '.') + 1)
           : 1;
    return 0;
}

int cuGetErrorString(int error, const char **text) {
    *text = "made up by the stub driver";
    return 0;
}

/* The rest is what libmxnet.so and the CUDA runtime look for. What needs a GPU is not supported. */

static int nothing(void) { return 0; }

#define UNSUPPORTED(name) int name(void) { return 801; }
UNSUPPORTED(cuDevicePrimaryCtxRetain)
UNSUPPORTED(cuGraphKernelNodeGetParams)
UNSUPPORTED(cuGraphNodeGetType)
UNSUPPORTED(cuLaunchKernel)
UNSUPPORTED(cuModuleGetFunction)
UNSUPPORTED(cuModuleLoadData)
UNSUPPORTED(cuModuleLoadDataEx)
UNSUPPORTED(cuModuleUnload)

/* Tables of private functions that the runtime fetches by UUID before it counts GPUs. Of the one
   whose UUID begins with a0, two functions lend it memory. */
static long lent[512];

static void lend_longs(void **memory, size_t *size) {
    *memory = lent;
    *size = 512;
}

static void lend_bytes(void **memory, size_t *size) {
    *memory = lent;
    *size = 14;
}

int cuGetExportTable(const void **table, const unsigned char *uuid) {
    static void *tables[2][64];
    void **chosen = tables[*uuid == 0xa0];
    chosen[0] = (void *)sizeof tables[0];
    for (int i = 1; i < 64; i++)
        chosen[i] = (void *)nothing;
    if (*uuid == 0xa0) {
        chosen[2] = (void *)lend_longs;
        chosen[6] = (void *)lend_bytes;
    }
    *table = chosen;
    return 0;
}

int cuGetProcAddress(const char *name, void **function, int version, unsigned long flags) {
#define KNOWN(known) if (!strcmp(name, #known)) { *function = (void *)known; return 0; }
    KNOWN(cuInit)
    KNOWN(cuDriverGetVersion)
    KNOWN(cuDeviceGetCount)
    KNOWN(cuDeviceGet)
    KNOWN(cuDeviceGetAttribute)
    KNOWN(cuGetErrorString)
    KNOWN(cuGetExportTable)
    KNOWN(cuGetProcAddress)
    *function = (void *)nothing;
    return 0;
}
