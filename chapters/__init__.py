"""The chapter, a module a section; installed as ``d2l_recsys.chapters``."""
