"""From bytes on a disk to records: lines, tables, translation memories, images."""
