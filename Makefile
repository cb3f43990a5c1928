# Puts what `npm run build` made into the system, and takes it out again:
#   make install [DESTDIR=/stage] [PREFIX=/usr/local] [LIBDIR=…] [SYSCONFDIR=/etc] [UNITDIR=…]
# In two parts, as in the Debian packages: install-module (applications' machines: the .so and what
# makes p11-kit and AppArmor find it) and install-programs (thsm, thsm-node, thsm-pkcs11d).
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
UNITDIR ?= /lib/systemd/system
# Modules that p11-kit looks up by name lie here, wherever the rest goes.
LIBDIR ?= $(shell pkg-config --variable=p11_module_path p11-kit-1)
P11_KIT_MODULES ?= $(shell pkg-config --variable=p11_module_configs p11-kit-1)

PROGRAMS := $(PREFIX)/lib/threshold-hsm
DOC := $(PREFIX)/share/doc/threshold-hsm
MODULE_DOC := $(PREFIX)/share/doc/threshold-hsm-module
# Of other people's packages.
LEFT_OUT := */.* */test */tests */benchmark */docs *.ts *.map *.html *.sh
COMMANDS := thsm:cli thsm-node:node thsm-pkcs11d:pkcs11-bridge

SHELL := /bin/bash -o pipefail

all:
	@echo "usage: make install | install-module | install-programs | uninstall" >&2; exit 1

install: install-module install-programs

install-module:
	install -D -m 644 dist/module/libthsm-pkcs11.so "$(DESTDIR)$(LIBDIR)/libthsm-pkcs11.so"
	install -D -m 644 packaging/threshold-hsm.module "$(DESTDIR)$(P11_KIT_MODULES)/threshold-hsm.module"
	install -D -m 644 packaging/apparmor "$(DESTDIR)$(SYSCONFDIR)/apparmor.d/abstractions/threshold-hsm"
	install -D -m 644 -t "$(DESTDIR)$(MODULE_DOC)/examples" packaging/examples/pkcs11.conf
	install -d "$(DESTDIR)$(SYSCONFDIR)/thsm"

# Only what runs: no sources, tests, source maps, nor the packages that build and test.
install-programs:
	install -d "$(DESTDIR)$(PROGRAMS)/dist" "$(DESTDIR)$(PREFIX)/bin" "$(DESTDIR)$(SYSCONFDIR)/thsm"
	install -m 644 package.json LICENSE "$(DESTDIR)$(PROGRAMS)"
	cp -R dist/src "$(DESTDIR)$(PROGRAMS)/dist"
	npm ls --omit=dev --all --parseable 2>/dev/null | sed -n 's|^$(CURDIR)/||p' | \
	  tar -c $(LEFT_OUT:%=--exclude='%') --files-from=- | tar -x -C "$(DESTDIR)$(PROGRAMS)"
	find "$(DESTDIR)$(PROGRAMS)" \( -name '*.map' -o -name '*.d.ts' \) -delete
	find "$(DESTDIR)$(PROGRAMS)" -type f -exec chmod 644 {} +
	for command in $(COMMANDS); do \
	  chmod 755 "$(DESTDIR)$(PROGRAMS)/dist/src/$${command#*:}/main.js" && \
	  ln -sf "../lib/threshold-hsm/dist/src/$${command#*:}/main.js" "$(DESTDIR)$(PREFIX)/bin/$${command%:*}" || exit 1; \
	done
	for unit in packaging/systemd/*; do \
	  sed 's|/usr/bin/|$(PREFIX)/bin/|; s|/usr/share/|$(PREFIX)/share/|' "$$unit" | \
	    install -D -m 644 /dev/stdin "$(DESTDIR)$(UNITDIR)/$${unit##*/}" || exit 1; \
	done
	install -D -m 644 packaging/sysusers.conf "$(DESTDIR)$(PREFIX)/lib/sysusers.d/threshold-hsm.conf"
	install -D -m 644 -t "$(DESTDIR)$(DOC)/examples" packaging/examples/pkcs11d.toml examples/*
	install -D -m 644 -t "$(DESTDIR)$(DOC)" docs/*.md CHANGELOG.md
	install -D -m 644 -t "$(DESTDIR)$(DOC)/guides" docs/guides/*.md

# Configuration and data stay.
uninstall:
	rm -rf "$(DESTDIR)$(PROGRAMS)" "$(DESTDIR)$(DOC)" "$(DESTDIR)$(MODULE_DOC)"
	rm -f "$(DESTDIR)$(LIBDIR)/libthsm-pkcs11.so" "$(DESTDIR)$(P11_KIT_MODULES)/threshold-hsm.module"
	rm -f "$(DESTDIR)$(SYSCONFDIR)/apparmor.d/abstractions/threshold-hsm"
	rm -f "$(DESTDIR)$(PREFIX)/lib/sysusers.d/threshold-hsm.conf"
	rm -f $(foreach command,$(COMMANDS),"$(DESTDIR)$(PREFIX)/bin/$(firstword $(subst :, ,$(command)))")
	rm -f $(foreach unit,$(notdir $(wildcard packaging/systemd/*)),"$(DESTDIR)$(UNITDIR)/$(unit)")

.PHONY: all install install-module install-programs uninstall
