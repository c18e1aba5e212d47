"""Builds the Debian package: `make deb`, or `python packaging/deb.py [FOLDER]`.

/usr/lib/tmsync is a virtual environment that sees the system's packages: Debian's psycopg2, cryptography and PyYAML.
Beside them are, as wheels of pure Python, those that Debian 12 has in versions that are too old. It is the same for
every version of Python 3 and for every architecture.

Source: deb(5), deb-control(5), Debian Policy 10.7 (configuration files) and 12 (documentation); PEP 405 (pyvenv.cfg).
"""

import gzip
import hashlib
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile
from email.parser import Parser
from email.utils import formatdate
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
HERE: Final = ROOT / "packaging"
HOME: Final = "usr/lib/tmsync"
MACHINE: Final = ("setarch", "i686")
"""pyproject.toml asks for Debian's packages on machines with 32 bits: their choice is this package's."""
DEBIAN: Final = ("psycopg2", "cryptography", "pyyaml")
PURE: Final = ("aiohttp", "frozenlist", "multidict", "propcache", "yarl")
"""These are faster with parts in C, and do without; so few requests come that it does not matter."""
MAINTAINER: Final = "The tmsync founders <maintainers@tmsync.invalid>"
OLDEST: Final = "3.11"
VERSIONS: Final = ("3.11", "3.12", "3.13", "3.14")
SCRIPT: Final = f"""\
#!/{HOME}/bin/python3 -I
from tmsync.__main__ import main

raise SystemExit(main())
"""


def build(target: Path) -> Path:
    """The finished package, in `target`."""
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch) / "tree"
        version = program(tree, Path(scratch))
        documents(tree, version)
        configuration(tree)
        control(tree, version)
        for path in [tree, *tree.rglob("*")]:
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
        (tree / "etc/tmsync").chmod(0o700)
        (tree / "var/lib/tmsync").chmod(0o700)
        (tree / "etc/tmsync/config.toml").chmod(0o600)
        target.mkdir(parents=True, exist_ok=True)
        made = target / f"tmsync_{version}_all.deb"
        subprocess.run(["dpkg-deb", "--root-owner-group", "-Zxz", "--build", tree, made], check=True, stdout=sys.stderr)
        return made


def program(tree: Path, scratch: Path) -> str:
    """tmsync and what comes with it; tmsync's version."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    quietly([*pip, "wheel", "--no-deps", "--wheel-dir", scratch, ROOT])
    (own,) = scratch.glob("tmsync-*.whl")
    site = tree / HOME / f"lib/python{OLDEST}/site-packages"
    installed = ["install", "--target", site, "--no-compile", "--only-binary", ":all:", "--no-binary", ",".join(PURE)]
    quietly([*MACHINE, *pip, *installed, *needs(own)])
    shutil.rmtree(site / "bin")
    if compiled := list(site.rglob("*.so")):
        raise SystemExit(f"{compiled[0].name} is compiled: it would fit one architecture only")
    unpack(own, site, tree)
    for other in VERSIONS[1:]:
        (site.parent.parent / f"python{other}").symlink_to(f"python{OLDEST}")
    (tree / HOME / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = true\n")
    binaries = tree / HOME / "bin"
    binaries.mkdir()
    (binaries / "python3").symlink_to("../../../bin/python3")
    (binaries / "tmsync").write_text(SCRIPT)
    (binaries / "tmsync").chmod(0o755)
    (tree / "usr/bin").mkdir(parents=True)
    (tree / "usr/bin/tmsync").symlink_to("../lib/tmsync/bin/tmsync")
    return own.name.split("-")[1]


def quietly(command: list[object]) -> None:
    """Run it; what it says is told if it fails."""
    environ = os.environ | {f"{name.upper()}_NO_EXTENSIONS": "1" for name in PURE}
    done = subprocess.run(list(map(str, command)), check=False, capture_output=True, text=True, env=environ)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)


def needs(own: Path) -> list[str]:
    """What a wheel needs and Debian does not have."""
    with zipfile.ZipFile(own) as wheel:
        (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
        asked = Parser().parsestr(wheel.read(name).decode()).get_all("Requires-Dist") or []
    # The demo's servers are Debian's.
    wanted = [re.sub(r"; extra == ['\"]serve['\"]$", "", one) for one in asked]
    return [one for one in wanted if "extra ==" not in one and not one.lower().startswith(DEBIAN)]


def unpack(wheel: Path, site: Path, tree: Path) -> None:
    """A wheel into the environment; manual pages and completions to where Debian has them."""
    with zipfile.ZipFile(wheel) as packed:
        for name in packed.namelist():
            folder, _, rest = name.partition(".data/data/")
            path = tree / "usr" / rest if rest else site / name
            if name.endswith("/") or ".data/" in folder or "/entry_points.txt" in name:
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(packed.read(name))


def documents(tree: Path, version: str) -> None:
    """Manual pages compressed, completions where Debian's shells look, and the documents."""
    share = tree / "usr/share"
    for page in (share / "man").rglob("*.[15]"):
        compressed(page, page.read_bytes())
        page.unlink()
    moved = {"zsh/site-functions": "zsh/vendor-completions"}
    for before, after in moved.items():
        (share / after).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(share / before, share / after)
    doc = share / "doc/tmsync"
    shutil.copytree(ROOT / "docs", doc / "docs")
    for path in ROOT.glob("*.md"):
        shutil.copy(path, doc)
    date = formatdate((ROOT / "CHANGELOG.md").stat().st_mtime)
    news = f"tmsync ({version}) stable; urgency=medium\n\n  * See CHANGELOG.md.\n\n -- {MAINTAINER}  {date}\n"
    compressed(doc / "changelog", news.encode())
    (doc / "copyright").write_text((ROOT / "LICENSE").read_text("utf-8") + LICENCES)
    (doc / "examples").mkdir()
    shutil.copy(HERE / "config.toml", doc / "examples")


LICENCES: Final = f"""
What comes along below /{HOME} has licences of its own: each is in its *.dist-info, and listed in
docs/reference/licences.md.
"""


def compressed(path: Path, content: bytes) -> None:
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(content, mtime=0))


def configuration(tree: Path) -> None:
    """The configuration file, the units, and the folders that only tmsync's user may enter."""
    (tree / "etc/tmsync").mkdir(parents=True)
    shutil.copy(HERE / "debian/config.toml", tree / "etc/tmsync")
    (tree / "var/lib/tmsync").mkdir(parents=True)
    shutil.copytree(HERE / "systemd", tree / "usr/lib/systemd/system")


def control(tree: Path, version: str) -> None:
    """What dpkg reads."""
    files = sorted(path for path in tree.rglob("*") if path.is_file() and not path.is_symlink())
    folder = tree / "DEBIAN"
    folder.mkdir()
    units = [path.name for path in sorted((HERE / "systemd").iterdir()) if "[Install]" in path.read_text("utf-8")]
    size = sum(path.stat().st_size for path in files) // 1024
    values = {"version": version, "size": str(size), "units": " ".join(units), "maintainer": MAINTAINER}
    for name in ("control", "postinst", "prerm", "postrm"):
        text = (HERE / "debian" / name).read_text("utf-8")
        for key, value in values.items():
            text = text.replace(f"{{{key}}}", value)
        (folder / name).write_text(text)
        (folder / name).chmod(0o644 if name == "control" else 0o755)
    (folder / "conffiles").write_text("/etc/tmsync/config.toml\n")
    sums = [(hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest(), path) for path in files]
    listed = (f"{digest}  {path.relative_to(tree)}\n" for digest, path in sums if path.parts[-3] != "etc")
    (folder / "md5sums").write_text("".join(listed))


if __name__ == "__main__":
    os.umask(0o022)
    print(build(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "dist"))
