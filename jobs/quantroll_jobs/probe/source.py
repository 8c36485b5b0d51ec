"""The file that the prober takes its questions from, which may be replaced while it runs."""

from pathlib import Path

from quantroll.api.jobs import DataFile
from quantroll_jobs.datafiles import DataError, Item, ItemForm
from quantroll_jobs.split import ChangingError, Part, Portion, Stamp, read_portion, stamp_of

ITEM_LIMIT = 10_000  # of the probe's part, those of the lowest ranks


class Source:
    """The items of the last good state of the file.

    What is missing, half-written, malformed or of another digest than wanted changes no items, and is said once.
    """

    def __init__(self, file: DataFile, form: ItemForm) -> None:
        """Nothing is read yet; `form` is how lines become items."""
        self.items: list[Item] = []
        self.ok = False  # the file is good as it is now
        self._file = file
        self._form = form
        self._path = Path(file.path)
        self._stamp: Stamp | None = None
        self._said = ""

    def look(self) -> bool:
        """Read the file if it is another than at the last look; whether there are new items now."""
        try:
            stamp = stamp_of(self._path)
            if stamp == self._stamp:
                return False
            portion = read_portion(self._path, self._form, Part.PROBE, ITEM_LIMIT)
            self._check(portion)
        except ChangingError:
            return self._refuse("is being written to")
        except OSError as error:
            self._stamp = None
            return self._refuse(f"cannot be read: {error.strerror or error}")
        except DataError as error:
            self._stamp = stamp
            return self._refuse(f"cannot be used: {error}")
        self._stamp = portion.stamp
        self.ok = True
        self.items = portion.items
        self._say(f"{len(portion.items)} items to ask from {self._path}, sha256 {portion.sha256}")
        return True

    def _check(self, portion: Portion) -> None:
        if self._file.sha256 not in (None, portion.sha256):
            raise DataError(f"it has sha256 {portion.sha256}, not {self._file.sha256}")
        if not portion.items:
            raise DataError("it has no items for the probe, which takes about half of all")

    def _refuse(self, cause: str) -> bool:
        self.ok = False
        kept = f"; asking the {len(self.items)} items from before" if self.items else "; waiting for it"
        self._say(f"{self._path} {cause}{kept}")
        return False

    def _say(self, text: str) -> None:
        if text != self._said:
            print(text, flush=True)
        self._said = text
