"""A failure-prediction appliance: machine files in, durable predictions out."""

__version__ = "0.1.0"
