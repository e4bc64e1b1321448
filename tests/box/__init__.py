"""A real Debian with systemd in a container of its own network, to install the appliance on and to pull the plug of."""
