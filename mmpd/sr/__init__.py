"""The super-resolution set: an optional layer on the core. Nothing outside this package imports it.

`mmpd.sr.register` registers it (the target of `custom_imports` in configs/sr). EDSR is here; RCAN and SwinIR are
spandrel's (`pip install -e .[sr]`).
"""
