"""How papermill talks to a kernel: that of this environment, in which no cell can print a notebook to death."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import papermill
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager
from nbformat import NotebookNode
from papermill import PapermillExecutionError
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, papermill_engines
from papermill.execute import remove_error_markers
from papermill.log import logger

NAME = "with-limited-output"
MAX_TEXT = 100_000  # characters of printed text that a cell keeps


class LimitedClient(PapermillNotebookClient):  # type: ignore[misc]  # papermill has no types
    """A client that drops what a cell prints beyond `MAX_TEXT` as it comes, and says so."""

    def __init__(self, *args: Any, **options: Any) -> None:
        """As the base."""
        super().__init__(*args, **options)
        self.printed: dict[int, int] = {}

    def create_kernel_manager(self) -> KernelManager:
        """A manager of the kernel of the Python that runs this, whatever is installed elsewhere under its name."""
        manager: KernelManager = super().create_kernel_manager()
        manager.kernel_spec_manager = KernelSpecManager(kernel_dirs=[])  # what remains is ipykernel's own
        return manager

    def output(
        self, outs: list[NotebookNode], msg: dict[str, Any], display_id: str | None, cell_index: int
    ) -> NotebookNode | None:
        """Take one message of output."""
        if msg["msg_type"] == "stream":
            text, before = msg["content"]["text"], self.printed.get(cell_index, 0)
            self.printed[cell_index] = before + len(text)
            if before >= MAX_TEXT:
                return None
            if before + len(text) >= MAX_TEXT:
                note = f"\n… more left out: a cell keeps {MAX_TEXT:,} characters\n"
                msg["content"]["text"] = text[: MAX_TEXT - before] + note
        return super().output(outs, msg, display_id, cell_index)


class LimitedEngine(NBClientEngine):  # type: ignore[misc]
    """Papermill's own engine with a `LimitedClient`."""

    @classmethod
    def execute_managed_notebook(
        cls, nb_man: Any, kernel_name: str, *, start_timeout: int, execution_timeout: int, log_file: str, **options: Any
    ) -> Any:
        """Execute the notebook that ``nb_man`` holds; time-outs in seconds; what the kernel complains of is logged."""
        unused = ("input_path", "timeout", "startup_timeout", "stdout_file", "stderr_file")
        kept = {name: value for name, value in options.items() if name not in unused}
        times = {"timeout": execution_timeout, "startup_timeout": start_timeout}
        with Path(log_file).open("a", encoding="utf-8") as file:
            return LimitedClient(nb_man, kernel_name=kernel_name, log=logger, **times, **kept).execute(stderr=file)


def execute_notebook(source: Path, target: Path, **options: Any) -> None:
    """Let papermill execute a notebook; an exception in a cell that is tagged ``raises-exception`` is no failure.

    Such a cell may raise and need not. The cells behind it are executed in either case.
    """
    paths = [str(path).replace("{", "{{").replace("}", "}}") for path in (source, target)]  # papermill fills in {}
    try:
        papermill.execute_notebook(*paths, engine_name=NAME, log_output=False, **options)
    except PapermillExecutionError as error:  # it names the last cell that holds an exception
        executed = remove_error_markers(nbformat.read(target, as_version=4))
        if "raises-exception" not in executed.cells[error.cell_index].metadata.get("tags", []):
            raise
        nbformat.write(executed, target)


papermill_engines.register(NAME, LimitedEngine)
