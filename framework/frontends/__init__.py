"""Front ends: what stands between the browser and the back ends. One module each; see `servers`."""
