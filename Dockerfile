# One image for every process: the API, the Dagster webserver, its daemon and the code server.
# docker-compose.yml says which runs what; users' files are mounted read-only, all state is in /data.

FROM python:3.11-slim AS build
WORKDIR /app
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# An index of CPU builds of torch keeps gigabytes of GPU libraries out; empty: the build that pip finds.
ARG TORCH_INDEX_URL=
COPY pyproject.toml constraints.txt README.md LICENSE ./
RUN if [ -n "$TORCH_INDEX_URL" ]; then \
      torch="$(sed -n 's/^torch==\([0-9.]*\).*/\1/p' constraints.txt)" && \
      pip install -c constraints.txt --extra-index-url "$TORCH_INDEX_URL" "torch==$torch+cpu"; \
    fi
# The requirements change rarely and the sources often: empty packages let this layer be kept.
RUN mkdir warehouse pipelines serving && touch warehouse/__init__.py pipelines/__init__.py serving/__init__.py \
    && pip install -c constraints.txt .
COPY warehouse warehouse
COPY pipelines pipelines
COPY serving serving
RUN pip install --no-deps --force-reinstall .

FROM python:3.11-slim
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin lora && install -d -o lora -g lora /data
COPY --from=build /opt/venv /opt/venv
COPY docker/workspace.yaml /app/workspace.yaml
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    LORA_MANAGER_DATA_DIR=/data \
    DAGSTER_HOME=/data/dagster \
    DAGSTER_DISABLE_TELEMETRY=1
WORKDIR /app
USER lora
VOLUME /data
ENTRYPOINT ["lora-manager"]
CMD ["doctor"]
