# The workshop. `just` lists the recipes.

default:
    @just --list

# Fast checks and all tests
all: lint types test

test *args:
    python -m pytest -n 2 --dist loadfile {{args}}

# What the README's second command runs: at most six minutes on two cores
quick *args:
    python -m pytest -n 2 --dist loadfile -m 'not slow' {{args}}

lint:
    ruff format --check .
    ruff check .

types:
    mypy

# Figures, not tests: each prints a ratio and the machine
bench:
    python -m benchmarks.startup
    python -m benchmarks.fan_out
    python -m benchmarks.overhead
    python -m benchmarks.scan
    python -m benchmarks.nightly --files 2000 --partitions 20000 100000
    python -m benchmarks.embedded
    python -m benchmarks.learning
    python -m benchmarks.convergence
    python -m benchmarks.honesty
    python -m benchmarks.rates
    python -m benchmarks.launches
    python -m benchmarks.idle

# Long proofs: kills at every moment, races for a budget
soak:
    python -m benchmarks.soak.kill_matrix
    python -m benchmarks.soak.budget_race
    python -m benchmarks.soak.first_use
    python -m benchmarks.soak.left_behind
    python -m benchmarks.soak.limits
    python -m benchmarks.soak.mutations
    python -m benchmarks.soak.faulty_night
    python -m benchmarks.soak.chaos
    python -m benchmarks.soak.overlap
    python -m benchmarks.soak.kills

dev:
    elexirion up
