"""The sections of the chapter, one module each; installed as ``d2l_recsys.chapters``."""
