package storage

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	gocmp "github.com/google/go-cmp/cmp"
)

// update makes TestFixtures write the fixture of the present format anew: go test ./storage -run TestFixtures -update
var update = flag.Bool("update", false, "write the fixture of the present format")

// fixture is what testdata/format-N.json says of the store in testdata/format-N.tar.gz.
type fixture struct {
	Made    time.Time `json:"made"` // the clock when the store was written
	Token   string    `json:"token"`
	Answers []asked   `json:"answers"`
}

// asked is a query as `dachs query` takes it, and its results as the Stats API shows them.
type asked struct {
	Site       string      `json:"site"`
	Range      string      `json:"range"`
	Metrics    []string    `json:"metrics"`
	Dimensions []string    `json:"dimensions,omitempty"`
	Filters    []string    `json:"filters,omitempty"`
	Results    []resultRow `json:"results"`
}

type resultRow struct {
	Dimensions  []string   `json:"dimensions"`
	Metrics     []*float64 `json:"metrics"`
	LowerBounds []*float64 `json:"lower_bounds,omitempty"`
}

// TestFixtures opens stores as each format was written, and compares what they answer with what they answered then: at
// once, after merges, and when time has gone on and hours have left the tuples.
func TestFixtures(t *testing.T) {
	if *update {
		writeFixture(t)
	}
	for format := 1; format <= Format; format++ {
		t.Run(fmt.Sprint("format ", format), func(t *testing.T) {
			t.Parallel()
			dir, f := unpackFixture(t, format)
			for _, days := range []int{0, 10, 10} {
				db := openAt(t, dir, f.Made.AddDate(0, 0, days))
				f.compare(t, db, fmt.Sprintf("opened %d days later", days))
				if err := db.Settle(context.Background()); err != nil {
					t.Fatal(err)
				}
				f.compare(t, db, fmt.Sprintf("settled %d days later", days))
				if err := db.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// compare asks everything, and looks at the small records.
func (f *fixture) compare(t *testing.T, db *DB, when string) {
	t.Helper()
	for _, want := range f.Answers {
		if diff := gocmp.Diff(normal(want.Results), normal(want.ask(t, db))); diff != "" {
			t.Errorf("%s: %s %v %v %v (-want +got):\n%s", when, want.Site, want.Metrics, want.Dimensions, want.Filters, diff)
		}
	}
	if token, err := db.TokenOf(f.Token); err != nil || token.Site != mustFind(t, db, "shop.example").ID {
		t.Errorf("%s: TokenOf = %+v, %v", when, token, err)
	}
	if owner, ok, err := db.Owner(); !ok || err != nil || !strings.HasPrefix(owner.PasswordHash, "$argon2id$") {
		t.Errorf("%s: Owner = %+v, %v, %v", when, owner, ok, err)
	}
	if imports, err := db.keys([]byte{prefixImport}, 0); len(imports) != 3 || err != nil {
		t.Errorf("%s: %d fingerprints of imports, %v", when, len(imports), err)
	}
}

// totals is the fixture with few questions: those without dimensions.
func (f *fixture) totals() *fixture {
	few := *f
	few.Answers = slices.DeleteFunc(slices.Clone(f.Answers), func(a asked) bool { return len(a.Dimensions) > 0 })
	return &few
}

func mustFind(t *testing.T, db *DB, domain string) Site {
	t.Helper()
	s, ok := db.Site(domain)
	if !ok {
		t.Fatalf("no site %s", domain)
	}
	return s
}

// normal brings results to a form in which the order of rows and the words for an empty value do not matter.
func normal(rows []resultRow) map[string]string {
	all := make(map[string]string, len(rows))
	for _, r := range rows {
		dims := slices.Clone(r.Dimensions)
		for i, d := range dims {
			if d == "(not set)" || d == "Direct / None" {
				dims[i] = ""
			}
		}
		text, err := json.Marshal([]any{r.Metrics, r.LowerBounds})
		if err != nil {
			panic(err) // numbers always can be written
		}
		all[strings.Join(dims, "|")] = string(text)
	}
	return all
}

// ask asks the store.
func (a *asked) ask(t *testing.T, db *DB) (rows []resultRow) {
	t.Helper()
	q, err := a.query()
	if err != nil {
		t.Fatal(err)
	}
	q.Site = mustFind(t, db, a.Site).ID
	for _, r := range mustQuery(t, db, q).Rows {
		rows = append(rows, a.shown(q, r))
	}
	return rows
}

// query translates.
func (a *asked) query() (q Query, err error) {
	from, to, _ := strings.Cut(a.Range, ",")
	if q.From, err = ParseDay(from); err != nil {
		return q, err
	}
	if q.To, err = ParseDay(to); err != nil {
		return q, err
	}
	for _, name := range a.Metrics {
		m, err := ParseMetric(name)
		if err != nil {
			return q, err
		}
		q.Metrics = append(q.Metrics, m)
	}
	for _, name := range a.Dimensions {
		switch name {
		case "time:day":
			q.Interval = ByDay
			continue
		case "time:hour":
			q.Interval = ByHour
			continue
		}
		if key, ok := strings.CutPrefix(name, "event:props:"); ok {
			q.GroupBy, q.PropKeys = append(q.GroupBy, Props), append(q.PropKeys, key)
			continue
		}
		c, err := ParseColumn(name)
		if err != nil {
			return q, err
		}
		q.GroupBy = append(q.GroupBy, c)
	}
	for _, f := range a.Filters {
		parts := strings.Split(f, ",")
		op, ok := map[string]Op{"is": Is, "is_not": IsNot, "contains": Contains}[parts[0]]
		c, err := ParseColumn(parts[1])
		if err != nil || !ok {
			return q, fmt.Errorf("filter %s: %w", f, err)
		}
		values := parts[2:]
		for i, v := range values {
			if c == Channel || c == Source {
				values[i] = strings.TrimPrefix(v, "Direct / None")
			}
		}
		q.Filters = append(q.Filters, Filter{Column: c, Op: op, Values: values})
	}
	return q, nil
}

// shown writes a row as the Stats API does.
func (a *asked) shown(q Query, r ResultRow) (row resultRow) {
	keys := r.Keys
	for _, name := range a.Dimensions {
		switch name {
		case "time:day":
			row.Dimensions = append(row.Dimensions, r.Day.String())
		case "time:hour":
			row.Dimensions = append(row.Dimensions, fmt.Sprintf("%s %02d:00:00", r.Day, r.Hour))
		default:
			row.Dimensions, keys = append(row.Dimensions, keys[0]), keys[1:]
		}
	}
	lower, bounded := make([]*float64, len(r.Values)), false
	for i, v := range r.Values {
		round := func(x float64) *float64 {
			if q.Metrics[i] == ViewsPerVisit {
				x = math.Round(x*100) / 100
			} else {
				x = math.Round(x)
			}
			return &x
		}
		if v.Null {
			row.Metrics = append(row.Metrics, nil)
			continue
		}
		row.Metrics = append(row.Metrics, round(v.Number))
		if v.AtMost {
			lower[i], bounded = round(v.Low), true
		}
	}
	if bounded {
		row.LowerBounds = lower
	}
	return row
}

func openAt(t *testing.T, dir string, now time.Time) *DB {
	t.Helper()
	db, err := Open(dir, Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil && !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
	return db
}

func fixtureName(format int, ext string) string {
	return filepath.Join("testdata", fmt.Sprintf("format-%d%s", format, ext))
}

// unpackFixture makes a store as a format was written.
func unpackFixture(t *testing.T, format int) (dir string, f *fixture) {
	t.Helper()
	text, err := os.ReadFile(fixtureName(format, ".json"))
	if err == nil {
		err = json.Unmarshal(text, &f)
	}
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	if err := unpack(fixtureName(format, ".tar.gz"), dir); err != nil {
		t.Fatal(err)
	}
	return dir, f
}

func unpack(archive, dir string) error {
	file, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer file.Close()
	zip, err := gzip.NewReader(file)
	if err != nil {
		return err
	}
	for r := tar.NewReader(zip); ; {
		head, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := filepath.Join(dir, filepath.FromSlash(head.Name))
		if head.Typeflag == tar.TypeDir {
			err = os.Mkdir(name, 0o700)
		} else {
			err = unpackFile(name, r)
		}
		if err != nil {
			return err
		}
	}
}

// unpackFile leaves out holes, which most of Badger's logs are.
func unpackFile(name string, r io.Reader) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(copyData(f, r), f.Close())
}

// writeFixture writes the fixture of the present format: that of the first one, upgraded, with some more hits.
func writeFixture(t *testing.T) {
	t.Helper()
	dir, f := unpackFixture(t, 1)
	db := openAt(t, dir, f.Made)
	site := mustFind(t, db, "blog.example")
	if err := db.Settle(context.Background()); err != nil {
		t.Fatal(err)
	}
	today := DayOf(f.Made.In(site.Location()))
	for i := range 40 {
		hits := pageView(site.ID, today-Day(i%3), fmt.Sprintf("/format-%d/%d", Format, i%7), "FR")
		hits[0].Sums[Engaged], hits[0].Sums[ScrollSum], hits[0].Sums[ScrollCount] = int64(1000*i), int64(i), 1
		if err := db.Append(hits...); err != nil {
			t.Fatal(err)
		}
	}
	// The old version could not be asked for properties.
	f.Answers = append(f.Answers, asked{Site: "shop.example", Range: f.Answers[0].Range, Metrics: []string{"visitors", "visits", "events"},
		Filters: []string{"is,event:name,Purchase"}, Dimensions: []string{"event:props:plan"}})
	for i := range f.Answers {
		f.Answers[i].Results = f.Answers[i].ask(t, db)
	}
	checkRich(t, db)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	text := fmt.Appendf(nil, "{\"made\":%q,\"token\":%q,\"answers\":[", f.Made.Format(time.RFC3339), f.Token)
	for i, a := range f.Answers {
		slices.SortFunc(a.Results, func(a, b resultRow) int { return slices.Compare(a.Dimensions, b.Dimensions) })
		line, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		text = fmt.Appendf(text, "%s\n%s", strings.Repeat(",", min(i, 1)), line)
	}
	if err := os.WriteFile(fixtureName(Format, ".json"), append(text, "\n]}\n"...), 0o644); err != nil {
		t.Fatal(err)
	}
	packed, err := pack(dir)
	if err == nil {
		err = os.WriteFile(fixtureName(Format, ".tar.gz"), packed, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// checkRich checks that a store has runs of all kinds: else its fixture would not show much.
func checkRich(t *testing.T, db *DB) {
	t.Helper()
	kinds := make(map[string]int)
	err := db.view(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte{prefixHeader}})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			r, err := openRun(db.codec, txn, it.Item())
			if err != nil {
				return err
			}
			switch {
			case r.ref.table != r.ref.table.base():
				kinds["rollup"]++
			case r.ref.level >= closedLevel:
				kinds[fmt.Sprintf("level %d", r.ref.level)]++
			}
			switch {
			case r.head.whole:
				kinds["whole"]++
			case r.head.inline != nil:
				kinds["inline"]++
			default:
				kinds["chunks"]++
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"rollup", "level 254", "level 255", "whole", "inline", "chunks"} {
		if kinds[kind] == 0 {
			t.Errorf("the store has no run of the kind %s: %v", kind, kinds)
		}
	}
}

// pack returns the archive of a store.
func pack(dir string) ([]byte, error) {
	var b bytes.Buffer
	zip, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	w := tar.NewWriter(zip)
	put := func(name string) error {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		head := &tar.Header{Name: filepath.ToSlash(name), Mode: int64(info.Mode().Perm()), Size: info.Size(), Typeflag: tar.TypeReg}
		if info.IsDir() {
			head.Name, head.Size, head.Typeflag = head.Name+"/", 0, tar.TypeDir
		}
		if err := w.WriteHeader(head); err != nil || info.IsDir() {
			return err
		}
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		_, err = io.Copy(w, f)
		return errors.Join(err, f.Close())
	}
	err = cmp.Or(put(formatFile), put(markFile), put(badgerDir))
	files, globErr := filepath.Glob(filepath.Join(dir, badgerDir, "*"))
	err = cmp.Or(err, globErr)
	for _, name := range files {
		err = cmp.Or(err, put(filepath.Join(badgerDir, filepath.Base(name))))
	}
	err = errors.Join(err, w.Close(), zip.Close())
	return b.Bytes(), err
}
