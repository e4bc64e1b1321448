-- A disk may have another number after the box was switched on again: what was claimed is recognised without it. Only what
-- is said of the column changes; the release before works with it.
COMMENT ON COLUMN arrival.claim IS 'SHA-256 over path, inode, mtime, size and content.';
