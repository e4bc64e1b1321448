"""Dashboards, their provisioning and alert rules, made from code: ``python -m grafana`` writes the files beside.

They read the views of the schema ``report`` and nothing else. No column of any machine stands here: titles, units and
words come from the profiles through the views.
"""
