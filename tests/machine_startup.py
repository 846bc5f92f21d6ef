"""Read by every kernel of `tests/machines.py` before its first cell: what stands for another machine."""


def _begin() -> None:  # in a function, because its names would be the notebook's own
    import json
    import os

    import torch
    from torch.optim import Optimizer

    from lib.lessons.claims import Claim

    if threads := os.environ.get("MACHINE_THREADS"):  # the notebooks settle on one
        torch.set_num_threads(int(threads))
        torch.set_num_threads = lambda _number: None

    if draw := os.environ.get("MACHINE_MOVED"):
        add = Optimizer.add_param_group

        def add_moved(self: Optimizer, group: dict) -> None:
            """Every training begins with an optimizer: move each weight to its next number, up or down."""
            add(self, group)
            generator = torch.Generator().manual_seed(int(draw))  # two trainings of the same weights stay the same
            for weight in self.param_groups[-1]["params"]:
                ends = torch.where(torch.rand(weight.shape, generator=generator) < 0.5, -torch.inf, torch.inf)
                moved = torch.nextafter(weight.data, ends.to(weight.dtype))
                weight.data = torch.where(weight.data == 0, weight.data, moved)

        Optimizer.add_param_group = add_moved

    if path := os.environ.get("MACHINE_CLAIMS"):  # all claims and what was measured for them, a line each
        judge = Claim.judge

        def record(**line: object) -> None:
            with open(path, "a", encoding="utf-8") as file:
                print(json.dumps({"notebook": os.environ["NOTEBOOK"], **line}), file=file)

        def judge_and_record(self: Claim, holds: object, words) -> None:
            record(cell=get_ipython().execution_count, claim=self.text, holds=bool(holds), measured=self.measured)  # noqa: F821
            judge(self, holds, words)

        Claim.judge = judge_and_record
        record(begins=True)


_begin()
