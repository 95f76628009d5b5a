"""VOC-layout data sets."""
