# What the scripts beside this file share; each sources it from the repository's root.

# Each process of an environment without bytecode compiles all that it imports, which takes seconds.
unset PYTHONDONTWRITEBYTECODE

say() { printf '\n== %s (after %d s)\n' "$*" "$SECONDS"; }

# Make a virtual environment: folder, Python, what to install. uv needs a tenth of pip's time; it reads none of pip's
# settings, so where it can't reach the index, pip does it. What is never imported needs no bytecode.
environment() {
  local folder=$1 python=$2
  shift 2
  "$python" -m venv --without-pip "$folder"
  # A test installs a package into its own environment, by pip.
  if ! UV_FIND_LINKS=${PIP_FIND_LINKS:-} .venv/bin/uv pip install --quiet --python "$folder/bin/python" pip "$@"; then
    "$python" -m venv --clear "$folder"
    "$folder/bin/pip" install --quiet --no-compile "$@"
  fi
}
