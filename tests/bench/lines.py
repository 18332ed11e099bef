"""What is told of a run: every figure's words, every ratio with its goal. Declared data only."""
from __future__ import annotations

MIB = 1 << 20
MEMORY_GOAL = 200 * MIB
GOALS = {"downtime_reads": 2.0, "downtime_servers": 2.0}
# Beside the seconds of a figure: what its processes and the server's used of the processor, and instructions where they can be counted.
CPU, INSTRUCTIONS = ".cpu", ".instructions"
# name of the ratio: (words, numerator, denominator, goal for the largest size or for each)
RATIOS = {
    "stage_to_pg_restore": ("Stage with proof ÷ bare `pg_restore -j`", "stage", "pg_restore", 1.3),
    "playbook_stage_to_pg_restore": ("The playbook's stage ÷ bare `pg_restore -j`", "playbook.stage", "pg_restore", 1.3),
    "playbook_to_pg_restore": ("Whole playbook ÷ bare `pg_restore -j`", "playbook", "pg_restore", None),
    "ansible_of_playbook": ("Ansible's share of the playbook", "ansible", "playbook", None),
    "backup_to_pg_dump": ("Backup ÷ bare `pg_dump -Fd -j`", "backup", "pg_dump", None),
    "partial_to_scratch": (
        "`agent_restore`, deleted as Letta does ÷ scratch database and COPY", "partial", "scratch", (0.25, 0.10),
    ),
    "wiped_to_scratch": (
        "`agent_restore`, archive and blocks gone too ÷ scratch database and COPY", "wiped", "scratch", (0.25, 0.10),
    ),
    "partial_to_file": (
        "`agent_restore`, deleted as Letta does ÷ export and import, which lose the passages", "partial", "file", "≤ 1.00",
    ),
    "wiped_to_file": (
        "`agent_restore`, archive and blocks gone too ÷ export and import, which lose the passages", "wiped", "file", "≤ 1.00",
    ),
    "partial_cpu_to_file_cpu": (
        "`agent_restore`, deleted as Letta does ÷ export and import, processor seconds", "partial.cpu", "file.cpu", None,
    ),
    "wiped_cpu_to_file_cpu": (
        "`agent_restore`, archive and blocks gone too ÷ export and import, processor seconds", "wiped.cpu", "file.cpu", None,
    ),
    "stage_to_zstd": (
        "Stage with proof ÷ `pg_restore -j` from zstd", "stage", "pg_restore.zstd", "≤ 0.50 vectors, ≤ 1.05 messages",
    ),
    "stage_to_gzip": ("Stage with proof ÷ `pg_restore -j` from gzip", "stage", "pg_restore.gzip", "≤ 0.50 vectors"),
    "stage_to_psql": ("Stage with proof ÷ `psql`", "stage", "psql", None),
    "stage_to_postgresql_db": ("Stage with proof ÷ the task of `postgresql_db` by itself", "stage", "postgresql_db.task", None),
    "stage_to_postgresql_db_best": (
        "Stage with proof ÷ the task of `postgresql_db` at its best", "stage", "postgresql_db.best.task", None,
    ),
    "stage_to_floor": ("Stage with proof ÷ floor", "stage", "floor", "≤ 1.60 vectors"),
    "stage_cpu_to_zstd_cpu": ("Stage with proof ÷ `pg_restore -j` from zstd, processor seconds", "stage.cpu", "pg_restore.zstd.cpu", None),
    "stage_cpu_to_gzip_cpu": ("Stage with proof ÷ `pg_restore -j` from gzip, processor seconds", "stage.cpu", "pg_restore.gzip.cpu", None),
    "stage_instructions_to_zstd_instructions": (
        "Stage with proof ÷ `pg_restore -j` from zstd, instructions", "stage.instructions", "pg_restore.zstd.instructions", None,
    ),
    "backup_to_zstd": ("Backup ÷ `pg_dump -Fd -j` with zstd", "backup", "pg_dump.zstd", "≤ 1.20"),
    "backup_to_gzip": ("Backup ÷ `pg_dump -Fd -j` with gzip", "backup", "pg_dump.gzip", "≤ 0.30"),
    "backup_cpu_to_zstd_cpu": ("Backup ÷ `pg_dump -Fd -j` with zstd, processor seconds", "backup.cpu", "pg_dump.zstd.cpu", None),
    "durable_to_stage": ("Commits that wait for the disk ÷ as it is", "stage.durable", "stage", None),
    "memory_to_stage": ("Indexes sorted in 64 MB ÷ as it is", "stage.memory", "stage", None),
    "autovacuum_to_stage": ("Autovacuum may come during the load ÷ as it is", "stage.autovacuum", "stage", None),
    "helpers_to_stage": ("Helpers for index builds ÷ as it is", "stage.helpers", "stage", None),
    "pg_restore_to_stage": ("Keys, indexes and foreign keys by `pg_restore -j` ÷ as it is", "stage.pg_restore", "stage", None),
    "one_connection_to_stage": ("Each table of text by one connection ÷ as it is", "stage.one_connection", "stage", None),
    "digests_first_to_stage": ("Digests before indexes ÷ as it is", "stage.digests_first", "stage", None),
    "digests_after_to_stage": ("Digests when all else is done ÷ as it is", "stage.digests_after", "stage", None),
    "statistics_to_stage": ("All statistics gathered anew ÷ as it is", "stage.statistics", "stage", None),
    "level_1_to_backup": ("Backup with `zstd:1` ÷ as it is", "backup.level_1", "backup", None),
    "level_3_to_backup": ("Backup with `zstd:3` ÷ as it is", "backup.level_3", "backup", None),
    "text_to_backup": ("Backup with vectors as text ÷ as it is", "backup.text", "backup", None),
}  # fmt: skip

# figure: words
FULL = (
    ("backup", "Backup: dump, digests, checksums"),
    ("pg_dump", "Bare `pg_dump -Fd -j`, same compression"),
    ("pg_restore", "Bare `pg_restore -j`, same archive"),
    ("stage", "Stage: side database, load, analyse, proof"),
    ("stage.create", "· create the side database"),
    ("stage.load", "· load, indexes, statistics, digests"),
    ("stage.prove", "· what is left of the proof"),
    ("assess", "Assess: checksums, plan"),
    ("validate", "Validate: every check"),
    ("swap", "Swap, engine only: fence, rename, read back"),
    ("procedure", "Whole restore by the engine alone"),
    ("playbook", "Whole `restore-full.yml`"),
    ("playbook.stage", "· its stage"),
    ("ansible", "· Ansible's share"),
    ("downtime_reads", "Longest gap between two reads around the swap"),
    ("downtime_servers", "Servers stopped until started (no-op commands)"),
)
PARTIAL = (
    ("partial", "One agent back by `agent_restore`, deleted as Letta does"),
    ("partial.planned", "· `planned`"),
    ("partial.check", "·· choose the set, check every file of it"),
    ("partial.select", "·· find the agent in the archive"),
    ("partial.cut", "·· cut its rows out of the archive"),
    ("partial.compare", "·· compare them with live"),
    ("partial.applied", "· `applied`"),
    ("partial.again", "·· compare again, under locks"),
    ("partial.undo", "·· write the undo"),
    ("partial.write", "·· write"),
    ("partial.prove", "·· prove"),
    ("partial.finished", "· `finished`"),
    ("partial.held", "New work of this agent kept waiting"),
    ("wiped", "One agent back by `agent_restore`, its archive and blocks gone too"),
    ("wiped.planned", "· `planned`"),
    ("wiped.cut", "·· cut its rows out of the archive"),
    ("wiped.applied", "· `applied`"),
    ("wiped.held", "New work of this agent kept waiting"),
    ("scratch", "`pg_restore -j` into a scratch database, COPY of its rows"),
    ("scratch.load", "· `pg_restore -j`"),
    ("scratch.copy", "· COPY"),
)
AGENT_FILE = (
    *PARTIAL,
    ("file", "Letta's own agent file: export and import"),
    ("file.export", "· export"),
    ("file.import", "· import"),
    ("file.messages", "· messages that the imported agent has"),
    ("file.passages", "· passages that the imported agent has"),
)
LOAD = (
    ("backup", "Backup: dump, vectors, digests, checksums"),
    ("pg_dump.zstd", "`pg_dump -Fd -j`, zstd"),
    ("pg_dump.gzip", "`pg_dump -Fd -j`, gzip (its default)"),
    ("stage", "Stage: side database, load, analyse, proof"),
    ("stage.load", "· load, indexes, statistics, digests"),
    ("stage.prove", "· what is left of the proof"),
    ("pg_restore.zstd", "`pg_restore -j`, zstd"),
    ("pg_restore.gzip", "`pg_restore -j`, gzip"),
    ("pg_restore.lz4", "`pg_restore -j`, lz4"),
    ("psql", "`psql`, plain script"),
    ("postgresql_db", "`postgresql_db` by itself: gzip, one job"),
    ("postgresql_db.task", "· its task alone"),
    ("postgresql_db.best", "`postgresql_db` at its best: zstd, `--jobs`"),
    ("postgresql_db.best.task", "· its task alone"),
    ("floor", "Floor: binary COPY without compression, indexes after"),
)
CHOICES = (
    ("stage", "Stage as it is: side database, load, analyse, proof"),
    ("stage.durable", "· commits wait for the disk (`synchronous_commit=on`)"),
    ("stage.memory", "· indexes sorted in 64 MB of memory, PostgreSQL's default, instead of 4"),
    ("stage.autovacuum", "· autovacuum may come to a table while it is loaded"),
    ("stage.helpers", "· helpers for index builds beside a job per core"),
    ("stage.pg_restore", "· keys, indexes and foreign keys by `pg_restore -j`"),
    ("stage.one_connection", "· each table of text by one connection"),
    ("stage.digests_first", "· digests before indexes, not in the gaps"),
    ("stage.digests_after", "· digests when all else is done"),
    ("stage.statistics", "· all statistics gathered anew, none out of the set"),
    ("backup", "Backup as it is: dump, vectors, digests, checksums"),
    ("backup.level_1", "· dump with `zstd:1` instead of `zstd:2`"),
    ("backup.level_3", "· dump with `zstd:3`, pg_dump's default"),
    ("backup.text", "· vectors as text (`letta_backup_vectors: text`)"),
)
CHART = ("stage", "pg_restore.zstd", "pg_restore.gzip", "pg_restore.lz4", "psql", "postgresql_db", "postgresql_db.best", "floor")
# Figures that are no seconds.
COUNTS = ("file.messages", "file.passages")
PARTIAL_MEMORY = (
    ("memory_partial", "Peak memory of `agent_restore`, deleted as Letta does"),
    ("memory_wiped", "Peak memory of `agent_restore`, archive and blocks gone too"),
)
MEMORY = (
    ("memory_backup", "Peak memory of the backup's Python"),
    ("memory_restore", "Peak memory of the restore's Python"),
    ("memory_pg_restore", "Peak memory of module `pg_restore`"),
    ("memory_playbook", "Peak memory of `ansible-playbook`, largest process"),
)
# part: (figures in seconds, figures in bytes, what the chart shows)
PARTS = {
    "full": (FULL, MEMORY, ()),
    "partial": (PARTIAL, PARTIAL_MEMORY, ("partial", "wiped", "scratch")),
    "load": (LOAD, MEMORY[:1], CHART),
    "load-four": (LOAD, MEMORY[:1], CHART),
    "choices": (CHOICES, (), ()),
    "agent-file": (AGENT_FILE, PARTIAL_MEMORY, ("partial", "wiped", "scratch", "file")),
}
