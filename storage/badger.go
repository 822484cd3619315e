package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"syscall"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

const (
	// memTableSize keeps the process small: Badger holds a few of these, and a transaction may take 15 % of one.
	memTableSize = 8 << 20
	// maxTxnBytes and maxTxnKeys stay well below what Badger refuses with ErrTxnTooBig at that size.
	maxTxnBytes = 640 << 10
	maxTxnKeys  = 4000
)

func badgerOptions(dir string, o Options) badger.Options {
	b := badger.DefaultOptions(dir).
		WithMemTableSize(memTableSize).
		WithNumMemtables(3).
		WithNumCompactors(2).
		// Tables are not compressed and lie in memory maps: a cache would copy what the system caches already.
		WithBlockCacheSize(0).
		// All values stay in the tree: nothing is left behind in value logs when runs are replaced.
		WithValueThreshold(1 << 20).
		WithValueLogFileSize(16 << 20).
		// Chunks are compressed already; what is not is short-lived.
		WithCompression(options.None).
		WithNumVersionsToKeep(1).
		// There is one writer for rows, and structural changes hold a lock: no conflicts to look for.
		WithDetectConflicts(false).
		WithMetricsEnabled(false).
		// Without this a flipped bit in a table is a wrong number. All blocks are verified once by preflight, which reads
		// them past the memory maps; Badger would do it through them, and keep every page in this process.
		WithChecksumVerificationMode(options.OnBlockRead).
		WithSyncWrites(o.Sync).
		WithLogger(badgerLog{o.Logger})
	return withEncryption(b, o.EncryptionKey)
}

// badgerLog hands Badger's log lines on. Its information is of use to developers only.
type badgerLog struct{ log *slog.Logger }

func (l badgerLog) Errorf(f string, a ...any)   { l.log.Error("badger", "text", line(f, a)) }
func (l badgerLog) Warningf(f string, a ...any) { l.log.Warn("badger", "text", line(f, a)) }
func (l badgerLog) Infof(f string, a ...any)    { l.log.Debug("badger", "text", line(f, a)) }
func (l badgerLog) Debugf(string, ...any)       {}

func line(f string, a []any) string { return strings.TrimSpace(fmt.Sprintf(f, a...)) }

// isLocked recognises Badger's complaint about a second process; it has no sentinel for it.
func isLocked(err error) bool {
	return strings.Contains(err.Error(), "Cannot acquire directory lock")
}

// cannotWrite recognises a directory or disk that this user cannot write to; Badger passes the text on, not the error.
func cannotWrite(err error) bool {
	text := err.Error()
	return errors.Is(err, fs.ErrPermission) || strings.Contains(text, syscall.EROFS.Error()) || strings.Contains(text, syscall.EACCES.Error())
}
