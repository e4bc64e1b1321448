"""A failure-prediction appliance: machine files in, durable predictions out."""

import os

__version__ = "0.1.0"

# ONNX Runtime tells its maker how it is used, from the moment it is loaded, unless this says no before.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
