"""Running an exported scorer fast on whatever this machine has.

Nothing here needs torch or transformers; OpenVINO and onnxruntime are imported when one is used.
"""

from flames.engines._backend import Backend, OutOfMemoryError
from flames.engines._choose import available, choose, open_backend
from flames.engines._engine import Engine
from flames.engines._processor import Processor, processor

__all__ = [
    "Backend",
    "Engine",
    "OutOfMemoryError",
    "Processor",
    "available",
    "choose",
    "open_backend",
    "processor",
]
