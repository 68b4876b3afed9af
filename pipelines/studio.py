"""Studio: queues, renders and keeps sheets; the one door to everything below.

    studio = Studio(models="models", outputs="outputs")
    picture = studio.image(Request(prompt="a red apple"))
    for event in studio.run(Sheet.seeds(Request(prompt="a red apple"), 4)): ...

A run lives here, in the worker and the store, not in whoever asked for it: it goes on when
nobody watches, and anyone may come back to it by its id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pipelines import backends
from pipelines.checkpoints import controlnets
from pipelines.checkpoints.model_info import ModelInfo
from pipelines.checkpoints.token_count import Tokens, count_tokens
from pipelines.controlnet.control_maps import Maps, check_preprocessor
from pipelines.devices.hardware import Hardware
from pipelines.devices.memory_options import DEFAULT_MEMORY, MemoryOptions
from pipelines.errors import Cancelled, ContactSheetError, StorageLocked
from pipelines.families.capabilities import Capabilities
from pipelines.model_manager.manager import PipelineManager
from pipelines.rendering.batch_evaluator import ComputeOptions
from pipelines.rendering.misfits import LeftOut, fitting
from pipelines.rendering.resolver import Resolver
from pipelines.rendering.run_executor import RunExecutor
from pipelines.rendering.run_plan import RunPlan
from pipelines.rendering.worker import Task, Worker
from pipelines.request.control import Control
from pipelines.request.request import Request
from pipelines.request.sheet import Sheet
from pipelines.runs.events import CellDone, CellFailed, Event, RunFinished, RunNotice, Warnings
from pipelines.runs.image_store import ImageStore
from pipelines.runs.null_store import AnyStore, NullStore
from pipelines.runs.queue import LIMIT
from pipelines.runs.run import Run
from pipelines.runs.run_registry import RunRegistry
from pipelines.runs.store import RunSummary, Store
from pipelines.samplers.noise_levels import noise_levels
from pipelines.utils.files import cache_folder
from pipelines.utils.threads import run_in_short_lived_thread

if TYPE_CHECKING:
    from PIL.Image import Image

T = TypeVar("T")


class Studio:
    """Renders sheets. Cheap to build: nothing is loaded before the first run.

    Args:
        models: folder or folders with models.
        outputs: folder that keeps pictures and runs; None keeps nothing.
        device: `auto`, `cpu`, `cuda`, …
        budget: bytes that loaded models may take; None = from the device.
        exact: a cell's bits do not depend on what it is made together with; slower.
        backend: what computes rows: `torch`, `compile`, `blocks`, `openvino`, or `auto` for
            the fastest.
        batch: rows in a batch; None measures what is fastest, and remembers it in the user's
            cache folder (CONTACT_SHEET_CACHE names another).
        memory_options: where models wait, in how many bits, and what computes attention.
        hardware: what the device is like; None = probed at the first use.
        queue_limit: runs that may wait.
    Raises: InvalidRequest, UnknownName: for a backend or a package that is not here, or a batch
        out of range.
    """

    def __init__(
        self,
        models: str | Path | Sequence[str | Path] = "models",
        outputs: str | Path | None = None,
        *,
        device: str = "auto",
        budget: int | None = None,
        exact: bool = False,
        backend: str = "torch",
        batch: int | None = None,
        memory_options: MemoryOptions = DEFAULT_MEMORY,
        hardware: Hardware | None = None,
        queue_limit: int = LIMIT,
    ) -> None:
        options = ComputeOptions(backend, batch, exact, cache_folder())
        options.check()
        memory_options.check()
        folders = [models] if isinstance(models, str | Path) else list(models)
        self.manager = PipelineManager(
            [Path(folder) for folder in folders],
            device=device,
            budget=budget,
            memory_options=memory_options,
            hardware=hardware,
        )
        self.store: AnyStore = NullStore() if outputs is None else Store(Path(outputs))
        self._runs = RunRegistry(self.store)
        self._backend = backend
        self._images = ImageStore(
            None if self.store.folder is None else self.store.folder / "sources"
        )
        self._maps = Maps(self._images)
        self._executor = RunExecutor(self.manager, self.store, options, self._maps)
        self._worker = Worker(self.manager, queue_limit)

    def models(self) -> list[ModelInfo]:
        """All models found, also those that cannot be used (they say why)."""
        return self.manager.library.models()

    def refuse_paths(self) -> None:
        """Take models, ControlNets and LoRAs by the names of what was found, no longer by paths.

        For those who hand on what strangers send: a path would tell what lies where, and load it.
        """
        self.manager.library.by_path = False

    def controlnets(self, model: str | None = None) -> list[ModelInfo]:
        """All ControlNets found, also those that cannot be used; or those that fit a model."""
        library = self.manager.library
        return library.controlnets() if model is None else library.open(model).controlnets

    def control_modes(self, model: str) -> tuple[str, ...]:
        """The modes of a control that a model's ControlNets know; () where it takes none.

        Raises: UnknownName, ModelUnavailable.
        """
        return controlnets.modes(self.manager.library.open(model).spec)

    def loras(self, model: str | None = None) -> list[ModelInfo]:
        """All LoRAs found, also those that cannot be used; or those that fit a model."""
        library = self.manager.library
        return library.loras() if model is None else library.open(model).loras

    def embeddings(self, model: str | None = None) -> list[ModelInfo]:
        """All embeddings found, also those that cannot be used; or those that fit a model."""
        library = self.manager.library
        return library.embeddings() if model is None else library.open(model).embeddings.fitting

    def add_picture(self, picture: Image | bytes | str | Path) -> str:
        """Keep a picture for controls; its hash, which is a Control's `image`.

        Args:
            picture: a PIL image, a file, or a file's bytes.
        Raises: InvalidRequest: if it is no picture or too large; that is read from its header.
        """
        return self._images.add(picture)

    def picture(self, image: str) -> Image:
        """A picture that was added, by its hash. Raises: UnknownName: if it is not here."""
        return self._images.get(image)

    def annotate(self, image: str, text: str) -> None:
        """Keep a text with a picture that was added, such as how it came about; the last counts.

        Raises: UnknownName: if the picture is not here.
        """
        self._images.annotate(image, text)

    def annotation(self, image: str) -> str | None:
        """The text kept with a picture; None if there is none."""
        return self._images.annotation(image)

    def control_map(self, control: Control, width: int, height: int) -> Image:
        """What a control's ControlNet sees. Raises: ContactSheetError: if it cannot be made."""
        return self._maps.of(check_preprocessor(control), (width, height))

    def native_size(self, model: str) -> tuple[int, int]:
        """Width and height a model was trained at. Raises: UnknownName, ModelUnavailable."""
        return self.supports(model).sizes.native

    def supports(self, model: str) -> Capabilities:
        """What a model can do. Raises: UnknownName, ModelUnavailable."""
        return self.manager.library.open(model).capabilities

    def suggested(self, model: str) -> Mapping[str, Any]:
        """Settings for a model without a preset; none for one that cannot be used."""
        try:
            return self.supports(model).suggested
        except ContactSheetError:
            return {}

    def tokens(self, model: str, prompt: str) -> Tokens:
        """How many tokens a prompt has for a model, and what of it is not read.

        Each vector of an embedding counts; what is none that can be used counts as text.
        Raises: UnknownName, ModelUnavailable.
        """
        entry = self.manager.library.open(model)
        try:
            named = entry.embeddings.named([prompt])
        except ContactSheetError:  # a run says so
            named = {}
        return count_tokens(entry.info, prompt, {name: one.vectors for name, one in named.items()})

    def noise_levels(self, request: Request) -> tuple[float, ...]:
        """σ at the start of every step of a complete Request; see `samplers.noise_levels`."""
        model = self.manager.library.open(request.model)
        spacing, config = model.family.spacing(model.configs, request), model.configs["scheduler"]
        sampler, schedule = request.sampler, request.schedule
        return noise_levels(sampler, schedule, config, request.steps, spacing, request.as_diffusers)

    def resolve(self, request: Request) -> Request:
        """A complete Request that the model can do.

        Raises: InvalidRequest, UnknownName, ModelUnavailable: saying what is allowed.
        """
        return Resolver(self.manager.library, self._images).resolve(request)

    def _cells(self, sheet: Sheet) -> tuple[list[Request], dict[int, Warnings]]:
        """Complete Requests of a sheet whose seeds are drawn, and what they do not carry out."""
        resolver = Resolver(self.manager.library, self._images)
        cells = [resolver.resolve(request) for request in sheet.expand()]
        found = {i: warnings for i, one in enumerate(cells) if (warnings := resolver.warnings(one))}
        return cells, found

    def plan(self, sheet: Sheet, *, skip_misfits: bool = False) -> RunPlan:
        """Check a sheet and estimate its cost, without making anything; `submit` takes the plan.

        Args:
            skip_misfits: leave out combinations that cannot be made, where some can.
        Raises: InvalidRequest, UnknownName, ModelUnavailable: if any cell cannot be made.
        """
        sheet = sheet.with_seeds()
        left_out: tuple[LeftOut, ...] = ()
        if skip_misfits:
            resolver = Resolver(self.manager.library, self._images)
            sheet, left_out = fitting(sheet, resolver.resolve)
        requests, warnings = self._cells(sheet)
        cost = self._executor.estimate(requests)
        return RunPlan(sheet, requests, cost, warnings, left_out)

    def address(self, request: Request) -> str:
        """The name of a Request's picture in the store: a hash of all that decides its pixels.

        Raises: InvalidRequest, UnknownName, ModelUnavailable: as `plan`.
        """
        return self._executor.address(self.resolve(request))

    def finished(self, request: Request) -> Image | None:
        """The picture of a Request if it was made before; nothing is made.

        Raises: InvalidRequest, UnknownName, ModelUnavailable: as `plan`.
        """
        if not self.store.keeps:
            return None
        complete = self.resolve(request)
        return self.store.picture(self._executor.address(complete), complete)

    def submit(
        self,
        sheet: Sheet | RunPlan,
        *,
        previews: bool = True,
        filmed: Iterable[int] = (),
        listed: bool = True,
    ) -> Run:
        """Queue a sheet, or a plan as it was checked, and return the run's handle at once.

        Args:
            listed: whether it stands among the recent runs; its pictures are kept either way.
            filmed: cells whose every preview is kept (`Run.film`); they are made anew.
        Raises: InvalidRequest, UnknownName, ModelUnavailable: if any cell cannot be made;
            Busy: if too many runs wait; StorageUnavailable: if it cannot be recorded. Then nothing
            is queued.
        """
        self._worker.check_open()
        left_out: list[str] = []
        if isinstance(sheet, RunPlan):
            left_out = sheet.left_out_lines
            cells, warnings, sheet = list(sheet.requests), dict(sheet.warnings), sheet.sheet
        else:
            sheet = sheet.with_seeds()
            cells, warnings = self._cells(sheet)
        # Their errors belong here, not in every cell.
        backends.fitting(self._backend, self.manager.device)
        run = Run(
            sheet,
            cells,
            filmed=frozenset(filmed),
            listed=listed,
            warnings=warnings,
            left_out=left_out,
        )
        if listed:
            self._record(run)
        work = partial(self._executor.make, run, previews)
        task = Task(work, run.stop, lambda: run.stop_asked, run.tell)

        def withdraw() -> None:
            if self._worker.withdraw(task):
                self._executor.withdraw(run)

        run.on_stop(withdraw)
        self._runs.add(run)
        self._worker.add(task, self._executor.uses(run))
        return run

    def _record(self, run: Run) -> None:
        """Record a run that was asked for; where the database is locked, the worker does later."""
        try:
            self.store.begin(run.id, run.sheet, run.requests, patience=1.0)
        except StorageLocked as error:
            run.publish(RunNotice(run.id, f"Waiting: {error}"))

    def run(self, sheet: Sheet) -> Iterator[Event]:
        """Make a sheet and yield its events; leaving the loop early stops the run.

        Raises: as `submit`.
        """
        yield from self.submit(sheet, previews=False).watch()

    def image(self, request: Request) -> Image:
        """One picture. Raises: ContactSheetError: if it could not be made."""
        for event in self.run(Sheet(base=request)):
            match event:
                case CellDone(image=image):
                    return image
                case CellFailed(error=error):
                    raise ContactSheetError(error)
                case RunFinished(error=str(error)):
                    raise ContactSheetError(error)
        raise Cancelled("the run was stopped before its picture was finished")

    def find(self, id: str) -> Run | None:
        """A run by its id, live or from the store; None if there is none.

        Raises: StorageUnavailable: if its record cannot be read.
        """
        return self._runs.find(id)

    def live(self, id: str) -> Run | None:
        """A run by its id if it is in memory; the store is not asked."""
        return self._runs.live(id)

    def cell(self, id: str, cell: int) -> tuple[Request, Path | None] | None:
        """A cell's Request and the file of its picture; an old run stays where it is for this."""
        return self._runs.cell(id, cell)

    def pick_winner(self, id: str, cell: int | None) -> bool:
        """Keep which finished cell of a run the user likes best; None takes it back.

        Returns: whether there is such a run and such a picture.
        """
        return self._runs.pick_winner(id, cell)

    def recent(self, limit: int = 20) -> list[RunSummary]:
        """The newest runs in the store, newest first; [] without a store."""
        return self._runs.recent(limit)

    @property
    def runs(self) -> list[Run]:
        """Runs in memory, oldest first: those that wait or are made, and the last that ended."""
        return self._runs.in_memory()

    @property
    def alive(self) -> bool:
        """Whether the worker runs: from the first run to `close`."""
        return self._worker.alive

    def call(self, function: Callable[[], T]) -> T:
        """Run a function on the worker's thread, between two runs, and return what it returns."""
        return self._worker.call(function)

    def warm_up(self, model: str) -> None:
        """Load a model ahead of its first run. Raises: UnknownName, ModelUnavailable."""
        import pipelines.rendering.renderer  # noqa: F401  (imports torch and diffusers)

        def load() -> None:
            with self.manager.use(model, stop=lambda: self._worker.closed):
                pass

        run_in_short_lived_thread(load)  # it copies weights in parallel

    def close(self) -> None:
        """Stop all runs and the worker."""
        for run in self.runs:
            run.stop()
        self._worker.end()
        self.store.close()
