# syntax=docker/dockerfile:1
# One image for every process (the API, the Dagster webserver, its daemon, the code servers, the workers), in three
# targets that differ in their build of torch alone:
#
#   cpu   the default. The index of pip decides how large it is: TORCH_INDEX_URL may name PyTorch's index of CPU builds,
#         which keeps gigabytes of GPU libraries out.
#   cuda  torch as PyPI has it, which brings CUDA along.
#   rocm  needs TORCH_ROCM_INDEX_URL, PyTorch's index of builds for ROCm.
#
# docker-compose.yml says which process runs what, and how each is asked whether it is healthy: an image that is run as
# six processes has no check of its own. Users' files are mounted read-only, all state is in /data.

ARG PYTHON_IMAGE=python:3.11.15-slim-bookworm

FROM ${PYTHON_IMAGE} AS requirements
WORKDIR /app
ENV PATH=/opt/venv/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
COPY pyproject.toml constraints.txt README.md LICENSE ./
# The requirements change rarely and the sources often: empty packages stand for the sources until the last layer.
RUN mkdir warehouse pipelines serving && touch warehouse/__init__.py pipelines/__init__.py serving/__init__.py \
    && sed -n 's/^torch==\([0-9.]*\).*/\1/p' constraints.txt > torch-version

FROM requirements AS requirements-cpu
ARG TORCH_INDEX_URL=
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install -c constraints.txt ${TORCH_INDEX_URL:+--extra-index-url "$TORCH_INDEX_URL"} \
      "torch==$(cat torch-version)+cpu" \
    || echo "No CPU build of torch found: the usual one comes instead, some gigabytes. TORCH_INDEX_URL can name an index."
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install -c constraints.txt ".[celery,s3]"

FROM requirements AS requirements-cuda
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install -c constraints.txt ".[celery,diffusers,s3]"

FROM requirements AS requirements-rocm
ARG TORCH_ROCM_INDEX_URL=
RUN --mount=type=cache,target=/root/.cache/pip \
    test -n "$TORCH_ROCM_INDEX_URL" || { echo "set TORCH_ROCM_INDEX_URL to PyTorch's index of builds for ROCm" >&2; exit 1; } \
    && pip install --index-url "$TORCH_ROCM_INDEX_URL" "torch==$(cat torch-version)" \
    && pip install -c constraints.txt ".[celery,diffusers,s3]"

FROM ${PYTHON_IMAGE} AS package
WORKDIR /app
COPY pyproject.toml README.md LICENSE ./
COPY warehouse warehouse
COPY pipelines pipelines
COPY serving serving
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM ${PYTHON_IMAGE} AS runtime
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin lora && install -d -o lora -g lora /data
COPY docker/workspace.yaml /app/workspace.yaml
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    LORA_MANAGER_DATA_DIR=/data \
    DAGSTER_HOME=/data/dagster \
    DAGSTER_DISABLE_TELEMETRY=1
WORKDIR /app
VOLUME /data
ENTRYPOINT ["lora-manager"]
CMD ["doctor"]

FROM runtime AS cuda
COPY --from=requirements-cuda /opt/venv /opt/venv
RUN --mount=type=bind,from=package,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --no-deps --force-reinstall /wheels/*.whl
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001

FROM runtime AS rocm
COPY --from=requirements-rocm /opt/venv /opt/venv
RUN --mount=type=bind,from=package,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --no-deps --force-reinstall /wheels/*.whl
USER 10001

FROM runtime AS cpu
COPY --from=requirements-cpu /opt/venv /opt/venv
RUN --mount=type=bind,from=package,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --no-deps --force-reinstall /wheels/*.whl
USER 10001
