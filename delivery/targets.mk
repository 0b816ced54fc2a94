# Images and their way into a cluster; included by the Makefile.
ENGINE ?= $(shell command -v podman || command -v docker)
IMAGES := ingress scheduler archiver worker all-in-one
# Where images go, and what they are called there.
REGISTRY ?= threadmill
TAG ?= dev
export ENGINE REGISTRY TAG BASE NODE

images: ## Build every image with podman or docker (BASE=, NODE=, TAG=)
	@sh delivery/build $(IMAGES)

images-smoke: sync ## Build every image and run each without any right
	@$(BIN)/python -m pytest tests/images --images $(ARGS)

manifests: sync ## Render every overlay, validate it, and check what must hold in it
	@$(BIN)/python -m pytest tests/kubernetes -k "manifests or policies" $(ARGS)

kube-assets: sync ## Build a Kubernetes control plane for tests, where none is
	@$(BIN)/python -m tests.kubernetes.assets

nats-cli: ## Build the nats CLI for tests of the documents, where none is
	@command -v nats >/dev/null || { echo "building the nats CLI into .cache/bin ..." && \
	  GOBIN=$(CURDIR)/.cache/bin go install github.com/nats-io/natscli/nats@v0.5.1; }

# Steps of the workflows, which set what they need.
image-attest:
	@sh delivery/attest

image-publish:
	@sh delivery/publish

images-await:
	@sh delivery/await

deploy:
	@sh delivery/deploy

deploy-smoke:
	@sh delivery/smoke

.PHONY: images images-smoke manifests kube-assets nats-cli image-attest image-publish images-await deploy deploy-smoke
