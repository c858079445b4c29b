"""What runs networks in a browser: one release of onnxruntime-web, held against its checksum, kept once it is fetched.

Knows npm's registry and the data root; not what is run.
"""

import base64
import hashlib
import io
import os
import tarfile
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from genprior.data.spec import data_root
from genprior.errors import GenpriorError
from genprior.writing import write_bytes

VERSION = "1.30.0"
INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
FILE = f"onnxruntime-web-{VERSION}.tgz"
PLACE = f"onnxruntime-web/-/{FILE}"  # below a registry
REGISTRY = "https://registry.npmjs.org"
MODULE = "package/dist/ort.wasm.bundle.min.mjs"  # needs no second module, which a page from disk could not load
BINARY = "package/dist/ort-wasm-simd-threaded.wasm"
ASKED = "npm_config_registry"  # npm's own name of the setting in the environment
STALL_SECONDS = 10.0
MOST_BYTES = 2**26  # of the package, which has half as many


@dataclass(frozen=True)
class WebRuntime:
    """Files of the runtime.

    Attributes:
        module: JavaScript.
        binary: WebAssembly.
    """

    module: bytes
    binary: bytes


def web_runtime(given: Path | None, root: Path | None) -> WebRuntime:
    """Returns the runtime: of a file that is given, else of the data root, where the registry's copy is kept.

    Arguments:
        given: The package, as `npm pack` leaves it; None: it is fetched where it is not kept.
        root: Data root; None: the usual one.

    Raises:
        GenpriorError: About `runtime`: no such file, another release, or no registry that answers.
    """
    if given is not None:
        try:
            content = given.read_bytes()
        except OSError as error:
            raise _fault(f"{given} cannot be read: {error.strerror}") from None
        return _opened(content, str(given))
    copy = kept(root)
    if copy.is_file() and is_ours(content := copy.read_bytes()):
        return _opened(content, str(copy))
    address = f"{registry()}/{PLACE}"
    content = _fetched(address)
    runtime = _opened(content, address)
    copy.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(copy, content)
    return runtime


def kept(root: Path | None) -> Path:
    """Returns where the package is kept below a data root; None: the usual one."""
    return data_root(root) / "runtimes" / FILE


def registry() -> str:
    """Returns the address of npm's registry: that of the environment, else the public one."""
    return (os.environ.get(ASKED) or REGISTRY).rstrip("/")


def is_ours(content: bytes) -> bool:
    """Returns whether bytes are the release that pages are made with."""
    return "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode() == INTEGRITY


def _fetched(address: str) -> bytes:
    if not address.startswith(("https://", "http://")):
        raise _fault(f"expected a registry that begins with https://, got {ASKED}={registry()}")
    try:
        with urllib.request.urlopen(address, timeout=STALL_SECONDS) as answer:
            content: bytes = answer.read(MOST_BYTES)
    except (OSError, HTTPException) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise _fault(
            f"no {FILE} from {address} ({reason}); where there is a network: npm pack onnxruntime-web@{VERSION}, "
            "then name the file here"
        ) from None
    return content


def _opened(content: bytes, where: str) -> WebRuntime:
    if not is_ours(content):
        raise _fault(f"{where} is not onnxruntime-web {VERSION} as npm publishes it: another release, or damaged")
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        module, binary = (archive.extractfile(name) for name in (MODULE, BINARY))
        assert module is not None
        assert binary is not None
        return WebRuntime(module.read(), binary.read())


def _fault(what: str) -> GenpriorError:
    return GenpriorError(what, argument="runtime")
