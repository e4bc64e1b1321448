"""How long each step of a file's road takes, beside what disk, CPU and libraries would allow: ``python -m tests.bench``."""
