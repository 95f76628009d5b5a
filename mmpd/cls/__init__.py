"""The classification set: an optional layer on the core. Nothing on the detection side imports this package.

`mmpd.cls.register` registers it (the target of `custom_imports` in configs/classification); it needs mmpretrain, the
crop converter does not.
"""
