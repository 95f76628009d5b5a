"""mmcv's compiled operators on torchvision and plain torch: one module a family, each with its OPERATORS."""
