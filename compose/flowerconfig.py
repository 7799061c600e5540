"""Flower's settings for flowcore: ``celery flower --conf=flowerconfig.py``.

Any option of Flower may stand here; its command line wins.
"""

# A row is a node, or a whole run. ``kwargs`` names the run: search for ``kwargs:run=<run id>``.
tasks_columns = "name,state,retries,received,runtime,worker,kwargs,exception,uuid"

# Rows to keep in memory, about 5 kB each; the oldest go first.
max_tasks = 20_000

# Seconds after which a worker that is gone leaves the list: containers come and go.
purge_offline_workers = 300
