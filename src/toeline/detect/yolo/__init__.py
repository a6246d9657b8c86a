"""Detectors of the YOLO family that ultralytics trains: its `.pt` files, and the `.onnx` that it exports."""
