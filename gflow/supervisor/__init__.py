"""The supervisor connects the parts: it owns loop, children and API, and decides nothing.

``main`` prepares folders and locks and gives birth to the children before anything else is loaded;
``reactor`` is the loop: what happened goes to the core as events, what the core wants done goes to
the children, what changed goes to the persister's link. ``recovery`` turns what the launcher found
into events before scheduling begins. ``operations`` implements the API's protocol. Once it is ready
this process touches no disk, no user file system, no name service and no driver.
"""
