"""From bytes on a disk to records: lines, tables, translation memories, data sets of the hub, images."""
