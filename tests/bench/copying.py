"""What the process that copies to S3 weighs: ``python -m tests.bench.copying`` prints MiB (PSS) and seconds of CPU."""

from __future__ import annotations

import importlib
import time

import psutil


def main() -> None:
    process = psutil.Process()
    before = time.process_time()

    def tell(what: str) -> None:
        weighs = process.memory_full_info().pss / (1 << 20)
        print(f"{what}: {weighs:.0f} MiB, {time.process_time() - before:.1f} s")

    importlib.import_module("appliance.outbox")
    tell("a pass with nothing to send")
    from appliance.bucket import Bucket
    from appliance.settings import Settings

    Bucket(Settings(s3_bucket="plant", s3_endpoint="http://127.0.0.1:9", s3_keys="a:b"))  # type: ignore[arg-type]
    tell("and with the bucket's client")
    importlib.import_module("polars")
    tell("and with what makes Parquet")


if __name__ == "__main__":
    main()
