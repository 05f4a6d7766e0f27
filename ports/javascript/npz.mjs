/**
 * Read and write .npz files, the format of the baseline's questions and answers. Uses only modules
 * of Node.
 *
 * A .npz file is a zip file with a member NAME.npy for each array. A .npy has a line of text with
 * the type and the shape, then the numbers. Needs Node 20.15 or later and a little-endian machine.
 */

import fs from "node:fs";
import path from "node:path";
import { crc32, inflateRawSync } from "node:zlib";

/**
 * An array: its numbers in C order, and its shape, which is [] for a single number.
 * @typedef {{data: Float32Array|Float64Array|Int32Array|BigInt64Array|Uint8Array,
 *   shape: number[]}} Tensor
 */

/** The error for a file that cannot be read or written. The message is one line for the user. */
export class DataError extends Error {}

const TYPES = {
  "<f4": Float32Array, "<f8": Float64Array, "<i4": Int32Array, "<i8": BigInt64Array,
  "|u1": Uint8Array,
};
const MAGIC = Buffer.from("\x93NUMPY\x01\x00", "latin1");
// The first bytes of a member of a zip file, of a directory entry, and of the end of the directory.
const [MEMBER, ENTRY, END] = [0x04034b50, 0x02014b50, 0x06054b50];
const [MEMBER_LENGTH, ENTRY_LENGTH, END_LENGTH] = [30, 46, 22];
const [STORED, DEFLATED] = [0, 8];
const UTF8 = 1 << 11; // the flag for names in UTF-8
const NO_DATE = 0x21; // 1980-01-01, the earliest date of the zip format

/**
 * The arrays of a file by name. 64-bit integers become a Float64Array, so that every array holds
 * plain numbers and none holds BigInts.
 *
 * @returns {Record<string, Tensor>}
 */
export function readNpz(file) {
  try {
    const members = unzip(fs.readFileSync(file));
    return Object.fromEntries(members.map(([name, npy]) => [name, fromNpy(name, npy)]));
  } catch (error) {
    throw new DataError(`${file} cannot be read: ${error.message}`);
  }
}

/** Write arrays by name, Record<string, Tensor>; creates missing folders. */
export function writeNpz(file, arrays) {
  const content = zip(Object.entries(arrays).map(([name, array]) => [name, toNpy(name, array)]));
  try {
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, content);
  } catch (error) {
    throw new DataError(`${file} cannot be written: ${error.message}`);
  }
}

const sizeOf = (shape) => shape.reduce((product, n) => product * n, 1);

/** @returns {Tensor} */
function fromNpy(name, npy) {
  if (!npy.subarray(0, 8).equals(MAGIC)) throw new Error(`${name} is not a .npy of version 1.0`);
  const start = 10 + npy.readUInt16LE(8);
  const header = npy.toString("latin1", 10, start);
  const descr = /'descr': *'([^']*)'/.exec(header)?.[1];
  const sides = /'fortran_order': *False.*'shape': *\(([^)]*)\)/.exec(header)?.[1];
  const Type = TYPES[descr];
  if (!Type) throw new Error(`${name} has the type ${descr}, not one of ${Object.keys(TYPES)}`);
  if (sides === undefined) throw new Error(`${name} has no shape, or is not in C order`);
  const shape = (sides.match(/\d+/g) ?? []).map(Number);
  const bytes = new Uint8Array(npy.subarray(start)); // a copy, because typed arrays need alignment
  if (bytes.length !== sizeOf(shape) * Type.BYTES_PER_ELEMENT) {
    throw new Error(`${name} has ${bytes.length} bytes, which do not fit the shape (${shape})`);
  }
  if (Type !== BigInt64Array) return { data: new Type(bytes.buffer), shape };
  const data = Float64Array.from(new BigInt64Array(bytes.buffer), Number);
  if (!data.every(Number.isSafeInteger)) throw new Error(`${name} has numbers beyond 2^53`);
  return { data, shape };
}

function toNpy(name, { data, shape }) {
  const descr = Object.keys(TYPES).find((key) => data instanceof TYPES[key]);
  if (!descr || data.length !== sizeOf(shape)) {
    throw new TypeError(`${name} has an unknown type, or does not fit the shape (${shape})`);
  }
  const sides = shape.map((n) => `${n},`).join(" ");
  const header = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${sides}), }`;
  // The .npy format pads the header, so that the numbers begin at a multiple of 64 bytes.
  const length = Math.ceil((header.length + 11) / 64) * 64 - 10;
  const text = Buffer.from(`${header.padEnd(length - 1)}\n`, "latin1");
  const numbers = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  return Buffer.concat([MAGIC, pack("H", length), text, numbers]);
}

/** The members of a zip file: pairs of a name, without .npy, and its bytes. */
function unzip(content) {
  let at = content.length - END_LENGTH; // search backwards, because a comment can follow
  while (at >= 0 && content.readUInt32LE(at) !== END) at -= 1;
  if (at < 0) throw new Error("it is not a zip file, or its end is missing");
  const members = [];
  const count = content.readUInt16LE(at + 10);
  at = content.readUInt32LE(at + 16);
  for (let i = 0; i < count; i++) {
    if (content.readUInt32LE(at) !== ENTRY) throw new Error("its zip directory is damaged");
    const method = content.readUInt16LE(at + 10);
    const [sum, stored, member] = [16, 20, 42].map((n) => content.readUInt32LE(at + n));
    const [nameLength, extra, comment] = [28, 30, 32].map((n) => content.readUInt16LE(at + n));
    const name = content.toString("utf8", at + ENTRY_LENGTH, at + ENTRY_LENGTH + nameLength);
    // The extra field of the member can have another length than that of the directory entry.
    const start = member + MEMBER_LENGTH + nameLength + content.readUInt16LE(member + 28);
    let bytes = content.subarray(start, start + stored);
    if (method === DEFLATED) bytes = inflateRawSync(bytes);
    else if (method !== STORED) throw new Error(`${name} has the unknown compression ${method}`);
    if (crc32(bytes) !== sum) throw new Error(`${name} is damaged`);
    members.push([name.replace(/\.npy$/, ""), bytes]);
    at += ENTRY_LENGTH + nameLength + extra + comment;
  }
  return members;
}

/** An uncompressed zip file, from pairs of a name and its bytes. */
function zip(members) {
  const [parts, entries] = [[], []];
  let offset = 0;
  for (const [name, bytes] of members) {
    const label = Buffer.from(`${name}.npy`);
    const size = bytes.length;
    const about = pack("HHHHHIIIHH", 20, UTF8, STORED, 0, NO_DATE, crc32(bytes), size, size,
      label.length, 0);
    parts.push(pack("I", MEMBER), about, label, bytes);
    entries.push(pack("IH", ENTRY, 20), about, pack("HHHII", 0, 0, 0, 0, offset), label);
    offset += MEMBER_LENGTH + label.length + size;
  }
  const [n, directory] = [members.length, Buffer.concat(entries)];
  const end = pack("IHHHHIIH", END, 0, 0, n, n, directory.length, offset, 0);
  return Buffer.concat([...parts, directory, end]);
}

/** The bytes of integers: 16 bits for each H of the format, 32 bits for each I. */
function pack(format, ...numbers) {
  return Buffer.concat([...format].map((kind, i) => {
    const bytes = Buffer.alloc(kind === "H" ? 2 : 4);
    bytes.writeUIntLE(numbers[i], 0, bytes.length);
    return bytes;
  }));
}
