# `make` alone lists the targets.
.DEFAULT_GOAL := help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12
.PHONY: help
