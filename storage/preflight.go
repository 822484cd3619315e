package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/dgraph-io/badger/v4"
)

// Badger mends a damaged store by forgetting: it cuts a log at the first bad entry, deletes tables that a manifest cut
// short does not name, and ends an iteration early at a bad block, also the one by which it replaces tables. So before
// it opens anything, all files are looked at here, and nothing is opened that would lose counts without a word.

// remedy ends every error about a damaged file.
const remedy = "run `dachs check`, which says what `dachs check --repair` would keep, or restore a backup"

// damage is something wrong with a file, or with what the store holds.
type damage struct {
	file   string // path, empty if it is not about one file
	offset int64  // of the first bad byte, negative if that says nothing
	text   string // what is wrong
	would  string // what a repair does
	// repair does it, given the directory that takes copies of what it changes; nil if there is none.
	repair func(keep *keeper) error
}

func (d *damage) place() string {
	switch {
	case d.file == "":
		return d.text
	case d.offset < 0:
		return fmt.Sprintf("%s: %s", d.file, d.text)
	}
	return fmt.Sprintf("%s, byte %d: %s", d.file, d.offset, d.text)
}

func (d *damage) err() error {
	// What could not be read may have said already that it is damaged.
	return fmt.Errorf("%s: %w: %s", strings.ReplaceAll(d.place(), ErrDamaged.Error()+": ", ""), ErrDamaged, remedy)
}

// inspection is a look at the files of a store that is not open.
type inspection struct {
	dir  string // that of Badger
	opts badger.Options
	log  *slog.Logger

	keys     map[uint64][]byte               // data keys of an encrypted store, as far as they can be read
	manifest map[uint64]badger.TableManifest // the tables that count
	replaced map[uint64]bool                 // tables that the manifest says are gone
	version  uint64                          // of the newest commit that tables and logs hold
	logsFrom uint64                          // the oldest commit in logs, 0 if there is none
	missing  bool                            // the manifest names tables that are not there
	orphans  []tableLook                     // sound tables that the manifest does not name: Badger deletes them
	salvaged map[string]bool                 // logs that a repair has written anew
	killed   bool                            // there are logs: the store was not closed
	files    int                             // looked at
	bytes    int64                           // looked at
	buf      []byte                          // for logs

	lost  []keySpan // what a repair has dropped from tables
	found []damage
	empty []string // files without a byte, which Badger takes for its own fresh ones and then stumbles over
}

func (in *inspection) add(d damage) { in.found = append(in.found, d) }

// preflight refuses a store whose files are damaged, before Badger touches them. Whoever calls it holds no lock on the
// directory: ErrLocked says that another process has one. killed says that the store was not closed.
func preflight(dir string, opts badger.Options, log *slog.Logger) (killed bool, err error) {
	if _, err := os.Stat(opts.Dir); errors.Is(err, fs.ErrNotExist) {
		return false, nil // a new store
	}
	unlock, err := lockDir(opts.Dir)
	if err != nil {
		return false, err
	}
	defer unlock()
	in, err := inspect(dir, opts, log)
	if err != nil {
		return false, err
	}
	if len(in.found) > 0 {
		return false, in.found[0].err()
	}
	return in.killed, in.dropEmpty()
}

// dropEmpty removes the files without a byte, once it is sure that nothing is missing.
func (in *inspection) dropEmpty() error {
	for _, name := range in.empty {
		if err := os.Remove(name); err != nil {
			return fmt.Errorf("remove empty file: %w", err)
		}
	}
	return nil
}

// inspect looks at every file below the store's directory. Its error means that one could not be read at all.
func inspect(dir string, opts badger.Options, log *slog.Logger) (*inspection, error) {
	in := &inspection{dir: opts.Dir, opts: opts, log: log, salvaged: make(map[string]bool)}
	entries, err := os.ReadDir(in.dir)
	if err != nil {
		return nil, fmt.Errorf("%w: give this user read access", err)
	}
	names := make(map[string][]string) // by extension
	for _, e := range entries {
		ext := filepath.Ext(e.Name())
		names[ext] = append(names[ext], e.Name())
		in.files++
	}
	for _, step := range []func(map[string][]string) error{in.registry, in.changes, in.tables, in.logs, in.valueLogs} {
		if err := step(names); errors.Is(err, fs.ErrPermission) {
			return nil, fmt.Errorf("%w: give this user read access", err)
		} else if err != nil {
			return nil, err
		}
	}
	in.checkMark(dir)
	return in, in.checkOrphans(names[logExt])
}

// valueLogs looks at Badger's value logs. They hold nothing of ours; but Badger does not start with a bad header.
func (in *inspection) valueLogs(names map[string][]string) error {
	for _, name := range names[".vlog"] {
		path := filepath.Join(in.dir, name)
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		head := make([]byte, logHeaderLen)
		n, _ := f.Read(head)
		info, err := f.Stat()
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
		switch {
		case info.Size() == 0:
			in.empty = append(in.empty, path)
		case n < logHeaderLen || !in.knowsKey(head):
			in.add(damage{path, 0, "the header is no header of a log", "delete it: value logs hold no counts", in.removing(path)})
		}
	}
	return nil
}

// removing repairs by deleting a file.
func (in *inspection) removing(path string) func(*keeper) error {
	return func(k *keeper) error {
		if err := k.keep(path); err != nil {
			return err
		}
		return os.Remove(path)
	}
}

// fileNumber is the number that Badger gave a file.
func fileNumber(name string) (uint64, bool) {
	n, err := strconv.ParseUint(strings.TrimSuffix(name, filepath.Ext(name)), 10, 32)
	return n, err == nil
}
