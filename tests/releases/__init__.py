"""Data folders as released versions wrote them, and what must become of them.

`VERSION.tar.xz` holds a sample library and the data folder of a system that worked on it, without what is made again
(exported models, logs); `VERSION.json` what its API showed of the user's state. Both are made by `make`, once for each
release and never again; `test_releases` opens each with the current code. The folder is the same on every machine,
because the paths of a library are part of its state.
"""
