"""Files as partitions: the set of a pipeline, and the asset whose partitions a user picks and materialises."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import dagster as dg

from elexirion_dagster.codebase.history import head
from elexirion_dagster.codebase.identity import Repository, parse_key, partition_key, repository
from elexirion_dagster.codebase.selection import Batch
from elexirion_dagster.compiler.jobs import Nodes, refusals_told
from elexirion_dagster.compiler.materialised import asset_key
from elexirion_dagster.compiler.metadata import described
from elexirion_dagster.compiler.ops import FILES, OUTPUTS
from elexirion_dagster.compiler.resources import Unopened, Wanted, file_tag, opened_for
from elexirion_dagster.dialects.load import Loaded
from elexirion_dagster.errors import InputError
from elexirion_dagster.expressions import Engine
from elexirion_dagster.inputs import complete_inputs
from elexirion_dagster.records import Json
from elexirion_dagster.run import Run
from elexirion_dagster.scan.plan import Plan
from elexirion_dagster.settings import Settings
from elexirion_dagster.spec.partitioning import repo_input
from elexirion_dagster.spec.pipeline import Pipeline
from elexirion_dagster.tags import PIPELINE_TAG

_CHUNK = 10_000
_GROUP = "pipelines"
_KEY, _START, _END = "dagster/partition", "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


def partition_set(pipeline: str) -> dg.DynamicPartitionsDefinition:
    """The partitions of a pipeline: one per file of its repositories."""
    return dg.DynamicPartitionsDefinition(name=f"{pipeline}_files")


def register(instance: dg.DagsterInstance, plan: Plan) -> None:
    """Let the set have exactly the files that there are of the plan's repository; other repositories' stay."""
    name, repo = f"{plan.pipeline}_files", plan.tree.repository.identity
    known = {key for key in instance.get_dynamic_partitions(name) if _repo(key) == repo}
    wanted = [partition_key(repo, path) for path in sorted(plan.tree.files)]
    fresh = [key for key in wanted if key not in known]
    for start in range(0, len(fresh), _CHUNK):
        instance.add_dynamic_partitions(name, fresh[start : start + _CHUNK])
    for key in sorted(known.difference(wanted)):
        instance.delete_dynamic_partition(name, key)


def _repo(key: str) -> str | None:
    try:
        return parse_key(key)[0]
    except InputError:  # somebody added a partition by hand
        return None


def files_asset(pipeline: Pipeline, nodes: Nodes) -> dg.AssetsDefinition:
    """The asset `<name>_files` over the job's own ops; what is picked runs in as few runs as Dagster's ranges allow."""
    key = asset_key(pipeline.name)
    told = described(pipeline.description) or ""
    most = 1 if pipeline.partitions is None or len(pipeline.repos) > 1 else pipeline.partitions.files_per_run
    with refusals_told(pipeline):
        graph = dg.GraphDefinition(
            name=f"{pipeline.name}_files",
            description=f"One partition per file that {pipeline.name} scans. {told}".strip(),
            output_mappings=[
                dg.OutputMapping(graph_output_name=FILES, mapped_node_name=OUTPUTS, mapped_node_output_name=FILES)
            ],
            **nodes,
        )
        return dg.AssetsDefinition.from_graph(
            graph,
            keys_by_output_name={FILES: key},
            partitions_def=partition_set(pipeline.name),
            backfill_policy=dg.BackfillPolicy.multi_run(most),
            group_name=_GROUP,
        )


def result_asset(pipeline: Pipeline) -> dg.AssetSpec | None:
    """The asset that runs of the job materialise, as far as the pipeline names one."""
    if pipeline.asset is None:
        return None
    deps = [asset_key(pipeline.name)] if pipeline.partitions else []
    key = pipeline.asset.split("/")
    return dg.AssetSpec(key, deps=deps, description=described(pipeline.description), group_name=_GROUP, kinds={"yaml"})


def picked_resource(known: Mapping[str, Loaded], settings: Settings) -> dg.ResourceDefinition:
    """The run of picked partitions, for every such asset: all assets of a location share one set of resources."""

    @dg.resource(description="The run of the partitions that were picked.")
    def resource(context: dg.InitResourceContext) -> Iterator[Run | Unopened]:
        def find() -> Wanted:
            loaded = _chosen(context, known)
            scan = context.run.run_id if context.run else None
            inputs, batch = picked(loaded.pipeline, _keys(context, loaded.pipeline.name), scan=scan)
            return Wanted(loaded.pipeline, loaded.pipelines, inputs, batch, file_tag(loaded.document.file))

        yield from opened_for(context, settings, find)

    return resource


def _chosen(context: dg.InitResourceContext, known: Mapping[str, Loaded]) -> Loaded:
    """The pipeline whose files are materialised; the run gets its tag, as runs of its job have it."""
    chosen = {key.to_user_string() for key in (context.run.asset_selection if context.run else None) or ()}
    names = [name for name in known if f"{name}_files" in chosen]
    if len(names) != 1 or context.run is None or context.instance is None:
        raise InputError("a run materialises the files of one pipeline", mend="Pick partitions of one asset.")
    chosen_one = known[names[0]]
    tags = {PIPELINE_TAG: names[0], **file_tag(chosen_one.document.file)}
    context.instance.add_run_tags(context.run.run_id, tags)
    return chosen_one


def _keys(context: dg.InitResourceContext, pipeline: str) -> list[str]:
    """The partitions of the run. Raises InputError where it has none: a reversed range selects nothing."""
    tags: Mapping[str, str] = context.run.tags if context.run else {}
    keys: list[str] = [tags[_KEY]] if _KEY in tags else []
    if _START in tags and context.instance is not None:
        known = context.instance.get_dynamic_partitions(f"{pipeline}_files")
        ends = [known.index(key) if key in known else -1 for key in (tags[_START], tags[_END])]
        keys = list(known[ends[0] : ends[1] + 1]) if min(ends) >= 0 else []
    if not keys:
        raise InputError("no file was picked", mend="Pick partitions; a range begins with the one listed first.")
    return keys


def picked(pipeline: Pipeline, keys: Iterable[str], *, scan: str | None) -> tuple[Mapping[str, Json], Batch]:
    """Inputs and batch of a run of these partitions: their files at the branch's head. Raises InputError."""
    parsed = [parse_key(key) for key in keys]
    repos = sorted({repo for repo, _ in parsed})
    if len(repos) != 1:
        raise InputError(
            f"these partitions belong to {len(repos)} repositories: {', '.join(repos[:3])}",
            mend="Pick files of one repository at a time.",
        )
    name = repo_input(pipeline, Engine())
    place = _place(pipeline, repos[0], name)
    commit, branch = None, place.branch
    if place.git and pipeline.partitions is not None:
        commit, branch = head(place.root, pipeline.partitions.branch, fetched=pipeline.partitions.fetch)
    batch = Batch(commit=commit, branch=branch, files=tuple(path for _, path in parsed), scan=scan)
    return {str(name): str(place.root)}, batch


def _place(pipeline: Pipeline, identity: str, name: str | None) -> Repository:
    """The folder of a repository, among those of the pipeline."""
    defaults = complete_inputs(pipeline, {})
    folders = [*pipeline.repos, str(defaults[str(name)]), identity]
    for folder in folders:
        try:
            found = repository(absolute(folder))
        except InputError:
            continue
        if found.identity == identity:
            return found
    raise InputError(f"{identity} is none of the repositories of {pipeline.name}", mend="Add its folder under `repos`.")


def absolute(folder: str) -> Path:
    """A folder under `repos`, relative to where Dagster runs."""
    return Path(folder).expanduser().absolute()
