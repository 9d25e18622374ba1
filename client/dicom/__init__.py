"""One ultrasound DICOM file: what it tells, whether it can be used, what it shows."""
