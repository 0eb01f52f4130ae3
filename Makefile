# SPDX-License-Identifier: AGPL-3.0-or-later
# Short names for what is built and run elsewhere.
FUZZ_SECONDS ?= 60

.PHONY: all check run bench beats demo lab stress fuzz crowd-report format clean
all:
	. dist/packages.sh && need_packages $$build_packages && build_tree build gcc
check:
	./check
run:
	./run
bench:
	. dist/packages.sh && need_packages $$build_packages $$check_packages $$peer_packages && \
	build_tree build-release gcc -Dbuildtype=release
	python3 bench/bench.py $(BENCH)
# 1,000 connections in IDLE: what their lines show of news, and what they cost.
beats:
	. dist/packages.sh && need_packages $$build_packages $$check_packages && \
	build_tree build-release gcc -Dbuildtype=release
	python3 bench/beats.py $(BEATS)
demo:
	. dist/packages.sh && need_packages $$build_packages $$check_packages $$peer_packages && \
	build_tree build-release gcc -Dbuildtype=release
	python3 demo/demo.py
# The attacker that only sees packets, for six minutes; LAB='--short', '--set pad=none', ... (docs/lab.md).
lab:
	. dist/packages.sh && need_packages $$build_packages $$check_packages $$peer_packages && \
	build_tree build-release gcc -Dbuildtype=release
	python3 test/lab/lab.py $(LAB)
# Many connections at once, every answer checked; STRESS='--seconds 3600 --kill', '--seed 7', ... (test/stress/stress.py).
stress:
	. dist/packages.sh && need_packages $$build_packages $$check_packages && \
	build_tree build-release gcc -Dbuildtype=release
	python3 test/stress/stress.py $(STRESS)
# Every fuzz target for FUZZ_SECONDS each, from its seed corpus; findings land in build-fuzz/findings.
fuzz:
	. dist/packages.sh && need_packages $$build_packages $$check_packages && \
	build_tree build-fuzz clang -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false
	python3 test/harness/fuzz.py build-fuzz $(FUZZ_SECONDS) $(FUZZ)
# docs/crowd.md and its plots, measured anew; TRACE names a file of lines `sender recipient time` for the real trace's row.
crowd-report:
	. dist/packages.sh && need_packages $$build_packages && build_tree build-release gcc -Dbuildtype=release
	build-release/src/cohue crowd report --out docs $(if $(TRACE),--trace $(TRACE))
format:
	find src test bench -name '*.[ch]' -exec clang-format -i {} +
clean:
	rm -rf build build-clang build-asan build-release build-fuzz build-bench build-peers
