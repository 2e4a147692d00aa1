"""Adapters by tenant and version, in folders: FOLDER/TENANT/VERSION/ as PEFT saves them,
FOLDER/TENANT/current = the version in service.
"""

import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .. import paths
from ..errors import UserError
from .adapters import BASE, Adapter, BadAdapter, read_adapter

NAME, NUMBER = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}"), re.compile(r"[1-9][0-9]{0,8}")


class UnknownTenant(UserError):
    """Nobody of this name, or no such version: never answered by the base instead."""


@dataclass(frozen=True)
class Entry:
    """One version of one tenant: is it in service, and how large is it?"""

    tenant: str
    version: int
    current: bool
    bytes: int


def _number(pointer: Path) -> int:
    """The number in a small plain file (a pipe would never end, a device neither). Raises ValueError or
    OSError.
    """
    if not pointer.is_file():
        raise ValueError("no plain file")
    with open(pointer, "rb") as f:
        return int(f.read(20))


class AdapterStore:
    """A folder of tenants. A version is never changed once it is there; going back is another swap.

    What is in service is one small file per tenant, replaced atomically: who reads it gets the old version or
    the new one, and a swap made by
    another process counts from the next request on. Adapters that were read once stay in memory (they are
    small; S-LoRA does the same).
    """

    def __init__(self, folder: Path | str):
        self.folder, self._read, self._first = Path(folder), {}, {}
        if not self.folder.is_dir():
            raise UserError(
                f"there is no folder '{folder}'; give a folder with TENANT/VERSION/ sub-folders as PEFT saves"
                " adapters"
            )

    def tenants(self) -> list[str]:
        """Names of all who have at least one version, sorted."""
        return sorted(f.name for f in self.folder.iterdir() if NAME.fullmatch(f.name) and self._numbers(f))

    def versions(self, tenant: str) -> list[int]:
        """Version numbers of a tenant, oldest first. Raises UnknownTenant."""
        if (
            tenant == BASE.tenant
            or not NAME.fullmatch(tenant)
            or not (found := self._numbers(self.folder / tenant))
        ):
            known = ", ".join(self.tenants()[:8])
            raise UnknownTenant(f"there is no tenant '{tenant[:64]}'; known: {known or 'nobody yet'}")
        return found

    @staticmethod
    def _numbers(folder: Path) -> list[int]:
        """The version numbers among the folder's sub-folders."""
        return sorted(int(f.name) for f in folder.glob("[1-9]*") if NUMBER.fullmatch(f.name) and f.is_dir())

    def current(self, tenant: str) -> int:
        """The version in service: what was swapped in last, else the newest one at the first question."""
        versions, pointer = self.versions(tenant), self.folder / tenant / "current"
        if not os.path.lexists(pointer):
            return self._first.setdefault(
                tenant, versions[-1]
            )  # a folder that is copied in later waits for a swap
        try:
            chosen = _number(pointer)
        except (ValueError, OSError):
            raise BadAdapter(
                f"'{self.folder / tenant / 'current'}' holds no version number; write one of {versions}"
                " into it"
            ) from None
        return chosen

    def load(self, name: str) -> Adapter:
        """The adapter of 'tenant' (version in service) or 'tenant@2'; 'base' is the base itself. Raises
        UnknownTenant, BadAdapter.
        """
        if name == BASE.tenant:
            return BASE
        tenant, at, number = name.partition("@")
        version = self.current(tenant) if not at else int(number) if NUMBER.fullmatch(number) else -1
        if version not in (known := self.versions(tenant)):
            raise UnknownTenant(
                f"the tenant '{tenant}' has no version '{number[:20] or version}'; there are"
                f" {', '.join(map(str, known))}"
            )
        if (tenant, version) not in self._read:
            self._read[tenant, version] = read_adapter(self.folder / tenant / str(version), tenant, version)
        return self._read[tenant, version]

    def swap(self, tenant: str, version: int | None = None) -> Adapter:
        """Put a version into service (None: the newest). It is read and checked first: a broken one raises
        BadAdapter, the old one stays.
        """
        adapter = self.load(f"{tenant}@{self.versions(tenant)[-1] if version is None else version}")
        paths.write_atomic(self.folder / tenant / "current", str(adapter.version).encode())
        return adapter

    def rollback(self, tenant: str) -> Adapter:
        """Go back to the version before the one in service."""
        now = self.current(tenant)
        earlier = [v for v in self.versions(tenant) if v < now]
        if not earlier:
            raise UserError(
                f"the tenant '{tenant}' has no version before {now}; publish one, or swap to another number"
            )
        return self.swap(tenant, earlier[-1])

    def publish(self, tenant: str, source: Path | str) -> int:
        """Copy an adapter folder in as the tenant's next version; it is not in service before `swap`, unless
        it is the first one.

        Copied beside and renamed, so that nobody reads half a version. Raises BadAdapter, before anything is
        copied.
        """
        if tenant == BASE.tenant or not NAME.fullmatch(tenant):
            raise UserError(
                f"'{tenant[:64]}' is no name for a tenant; use lower-case letters, digits, '-' and '_', and"
                f" not '{BASE.tenant}'"
            )
        read_adapter(Path(source), tenant, 0)
        home = self.folder / tenant
        home.mkdir(exist_ok=True)
        known = self._numbers(home)
        if known:
            paths.write_atomic(home / "current", str(self.current(tenant)).encode())
        number, beside = max(known, default=0) + 1, tempfile.mkdtemp(dir=home, prefix=".new")
        os.chmod(beside, 0o755)
        shutil.copytree(source, beside, dirs_exist_ok=True)
        os.rename(beside, home / str(number))
        return number

    def entries(self) -> list[Entry]:
        """Every version of every tenant with its size on disk."""
        found = []
        for tenant in self.tenants():
            now = self.current(tenant)
            for version in self.versions(tenant):
                size = sum(
                    f.stat().st_size for f in (self.folder / tenant / str(version)).iterdir() if f.is_file()
                )
                found.append(Entry(tenant, version, version == now, size))
        return found
