"""The watch: alarms that no counter gives: delivery latency, traffic that stopped, and the pipeline itself."""
