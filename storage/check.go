package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// Finding is one thing that is not as it should be.
type Finding struct {
	Text     string `json:"text"`   // what is wrong, and where: file and byte, or site, day, table and rows
	Repair   string `json:"repair"` // what a repair does about it
	Repaired bool   `json:"repaired,omitempty"`
}

// CheckReport is what a check has looked at and found.
type CheckReport struct {
	Files    int       `json:"files"`
	Bytes    int64     `json:"bytes"` // of files
	Sites    int       `json:"sites"`
	Days     int       `json:"days"` // of all sites
	Runs     int       `json:"runs"`
	Rows     int64     `json:"rows"`
	Findings []Finding `json:"findings"`
	// FilesOnly says that what the files hold was not looked at, because they are damaged.
	FilesOnly bool `json:"files_only,omitempty"`
	// Kept is the directory with copies of what a repair has changed.
	Kept string `json:"kept,omitempty"`
}

// CheckOptions configures Check.
type CheckOptions struct {
	Options
	// Repair drops what is damaged: what each Finding names, and nothing else.
	Repair bool
	// NoCopy leaves out the copies of what a repair changes, which are put beside the files of the store.
	NoCopy bool
	// Progress, if set, is told now and then how many runs are done of how many.
	Progress func(done, total int)
}

// repairRounds bounds how often files are looked at after a repair: what hides behind a damaged file shows only then.
const repairRounds = 5

// Check looks at every byte of the store in dir, which no other process may have open (ErrLocked), and repairs it if it
// is to. A finding is no error. Without Repair nothing is lost or changed but what opening the store changes.
func Check(ctx context.Context, dir string, o CheckOptions) (CheckReport, error) {
	var report CheckReport
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	version, err := prepareDir(dir)
	if err != nil {
		return report, fmt.Errorf("check store: %w", err)
	}
	if err := errors.Join(checkKeyLength(o.EncryptionKey), checkKey(filepath.Join(dir, badgerDir), o.EncryptionKey)); err != nil {
		return report, fmt.Errorf("check store %s: %w", dir, err)
	}
	k := newKeeper("")
	if !o.NoCopy {
		k.dir = filepath.Join(dir, "damaged-"+o.Now().UTC().Format("20060102T150405"))
	}
	opts := badgerOptions(filepath.Join(dir, badgerDir), o.Options)
	lost, err := checkFiles(dir, opts, o, k, &report)
	if err == nil && !report.FilesOnly {
		err = upgradeStore(dir, version, o.Options) // contents are looked at as they are today
	}
	if err == nil && !report.FilesOnly {
		err = checkContents(ctx, dir, opts, o, k, lost, &report)
	}
	if k.used {
		report.Kept = k.dir
	}
	if err != nil {
		return report, fmt.Errorf("check store: %w", err)
	}
	return report, nil
}

// checkFiles inspects the files, and repairs them until nothing is left to repair. It returns what tables have lost.
func checkFiles(dir string, opts badger.Options, o CheckOptions, k *keeper, report *CheckReport) (lost []keySpan, err error) {
	if _, err := os.Stat(opts.Dir); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	unlock, err := lockDir(opts.Dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	for range repairRounds {
		in, err := inspect(dir, opts, o.Logger)
		if err != nil {
			return lost, err
		}
		report.Files, report.Bytes = in.files, in.bytes
		if len(in.found) == 0 {
			return lost, in.dropEmpty()
		}
		repaired, err := in.repair(o.Repair, k, report)
		if err != nil || !repaired {
			report.FilesOnly = true
			return lost, err
		}
		lost = append(lost, in.lost...)
	}
	report.FilesOnly = true
	return lost, errors.New("repairing uncovers ever more damage: restore a backup")
}

// repair reports what was found, and repairs it if it is to. repaired is false if something is left.
func (in *inspection) repair(do bool, k *keeper, report *CheckReport) (repaired bool, err error) {
	repaired = do
	for _, d := range in.found {
		f := Finding{Text: d.place(), Repair: d.would}
		if do && d.repair != nil {
			if err := d.repair(k); err != nil {
				return false, fmt.Errorf("repair %s: %w", d.file, err)
			}
			f.Repaired = true
		}
		repaired = repaired && f.Repaired
		report.Findings = append(report.Findings, f)
	}
	return repaired, nil
}

// checkContents opens Badger and looks at what it holds. Nothing else runs: no merges, and no sweep of what is marked
// as garbage.
func checkContents(ctx context.Context, dir string, opts badger.Options, o CheckOptions, k *keeper, lost []keySpan, report *CheckReport) error {
	b, err := badger.Open(opts)
	if err != nil {
		if isLocked(err) {
			return ErrLocked
		}
		return err
	}
	c, err := newCodec()
	if err != nil {
		return errors.Join(err, b.Close())
	}
	defer c.close()
	db := &DB{dir: dir, space: space{dir: dir, free: freeSpace, now: o.Now}, badger: b, codec: c, log: o.Logger, now: o.Now, stop: make(chan struct{})}
	db.sites.Store(newSiteIndex(nil))
	return errors.Join(db.checkRounds(ctx, o, k, lost, report), b.Close())
}

// checkRounds looks and repairs until nothing is left to repair: what hides behind a damaged run shows only then.
func (db *DB) checkRounds(ctx context.Context, o CheckOptions, k *keeper, lost []keySpan, report *CheckReport) error {
	for round := 1; ; round++ {
		repaired := len(report.Findings)
		ck := &check{db: db, report: report, progress: o.Progress, lost: lost, keeper: k}
		if err := ck.run(ctx); err != nil || !o.Repair {
			return err
		}
		if err := ck.repair(); err != nil {
			return err
		}
		if !slices.ContainsFunc(report.Findings[repaired:], func(f Finding) bool { return f.Repaired }) {
			return nil
		}
		if round == repairRounds {
			return errors.New("repairing uncovers ever more damage: restore a backup")
		}
		// What cannot be repaired is found again.
		report.Findings = slices.DeleteFunc(report.Findings, func(f Finding) bool { return !f.Repaired })
		report.Rows = 0
		lost = nil
	}
}

// Check looks at every table and at all that the store holds, while it is in use. It does not look at logs, which are
// being written, and repairs nothing.
func (db *DB) Check(ctx context.Context, progress func(done, total int)) (CheckReport, error) {
	report := CheckReport{}
	in := &inspection{dir: filepath.Join(db.dir, badgerDir), opts: db.badger.Opts(), log: db.log}
	err := in.inspectTables()
	if err == nil {
		report.Files, report.Bytes = in.files, in.bytes
		_, err = in.repair(false, nil, &report)
	}
	if err == nil {
		ck := &check{db: db, report: &report, progress: progress}
		err = ck.run(ctx)
	}
	if err != nil {
		return report, fmt.Errorf("check store: %w", err)
	}
	return report, nil
}

// inspectTables looks at the tables of a store that is in use: those that go away meanwhile have been replaced.
func (in *inspection) inspectTables() error {
	if err := errors.Join(in.registry(nil), in.changes(nil)); err != nil {
		return err
	}
	there := make(map[uint64]string)
	for id := range in.manifest {
		there[id] = fmt.Sprintf("%06d%s", id, tableExt)
	}
	for _, l := range in.lookAll(there) {
		if errors.Is(l.err, fs.ErrNotExist) {
			continue
		}
		if l.err != nil && !errors.Is(l.err, ErrDamaged) {
			return l.err
		}
		in.files++
		in.bytes += l.size
		in.addTable(l)
	}
	return nil
}
