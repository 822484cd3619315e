package storage

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// keys looks at all keys, and notes runs, garbage marks and sites.
func (c *check) keys(ctx context.Context) error {
	for _, step := range []func(context.Context) error{c.records, c.headers, c.marks, c.chunks, c.rest} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// each calls fn with the items below a prefix.
func (c *check) each(ctx context.Context, prefix []byte, values bool, fn func(item *badger.Item) error) error {
	it := c.txn.NewIterator(badger.IteratorOptions{Prefix: prefix, PrefetchValues: values, PrefetchSize: 16})
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := fn(it.Item()); err != nil {
			return err
		}
	}
	return nil
}

// unknown notes a key that FORMAT.md does not describe.
func (c *check) unknown(key []byte) {
	c.add(c.deleting(slices.Clone(key)), "delete it", "key %x is of no known form", key)
}

// recordForms has a value to decode each kind of record into.
var recordForms = map[string]func() any{
	recordSite: func() any { return new(Site) }, recordNextSite: func() any { return new(uint32) }, recordRemoved: func() any { return new(uint32) },
	recordHealth: func() any { return new(time.Time) }, recordOwner: func() any { return new(Owner) }, recordSetup: func() any { return new(setup) },
	recordToken: func() any { return new(Token) }, recordLogin: func() any { return new(time.Time) }, recordMark: nil,
}

func (c *check) records(ctx context.Context) error {
	next, highest := uint32(1), uint32(0)
	err := c.each(ctx, []byte{prefixRecord}, true, func(item *badger.Item) error {
		key := item.KeyCopy(nil)
		kind, name, found := strings.Cut(string(key[1:]), "/")
		form, known := recordForms[kind]
		if !found || !known {
			c.unknown(key)
			return nil
		}
		if form == nil {
			return nil
		}
		into := form()
		err := item.Value(func(b []byte) error { return json.Unmarshal(b, into) })
		if err == nil {
			err = c.record(name, into)
		}
		if err != nil {
			c.badRecord(key, kind, name)
			return nil
		}
		switch v := into.(type) {
		case *Site:
			c.sites[v.ID] = *v
			highest = max(highest, v.ID)
		case *uint32:
			if kind == recordNextSite {
				next = *v
			} else {
				c.removed[*v] = true
			}
		}
		return nil
	})
	if err == nil && highest >= next {
		c.add(func() error { return c.setNext(highest + 1) }, "set it right", "the number of the next site is %d, and site %d is there", next, highest)
	}
	return err
}

// record checks what a record says.
func (c *check) record(name string, v any) error {
	switch v := v.(type) {
	case *Site:
		_, err := time.LoadLocation(v.TimeZone)
		if v.Domain != name || v.ID == 0 {
			return corruptf("it is not of this name")
		}
		return err
	case *Token:
		if v.ID != name {
			return corruptf("it is not of this name")
		}
	}
	return nil
}

// badRecord notes a record that cannot be read. Its text is not shown: it may be a secret's hash.
func (c *check) badRecord(key []byte, kind, name string) {
	if kind == recordLogin || kind == recordSetup {
		name = ""
	}
	c.add(c.deleting(key), "delete it", "record %s %s cannot be read", kind, name)
}

func (c *check) headers(ctx context.Context) error {
	lost := make(map[uint32]bool)
	err := c.each(ctx, []byte{prefixHeader}, true, func(item *badger.Item) error {
		ref, err := parseHeaderKey(item.Key())
		if err == nil {
			_, err = schemaOf(ref.table)
		}
		if err != nil {
			c.unknown(item.Key())
			return nil
		}
		var head header
		err = item.Value(func(v []byte) error {
			head, err = decodeHeader(v)
			return err
		})
		c.runs[ref.anyLevel()] = err != nil || head.inline == nil
		if err == nil && head.inline != nil && c.isLost(item.Key(), item.Version()) {
			c.add(c.dropRun(ref), "drop it, or it could count twice",
				"%s: whether it still counts was in a damaged table", c.named(ref))
			return nil
		}
		c.refs = append(c.refs, ref)
		if _, ok := c.sites[ref.site]; !ok && !c.removed[ref.site] {
			lost[ref.site] = true
		}
		return nil
	})
	for site := range lost {
		c.add(func() error { return c.remakeSite(site) }, fmt.Sprintf("name it %s, so that its counts can be seen", lostDomain(site)),
			"site %d has counts, and no record of its name", site)
	}
	return err
}

// isLost reports whether newer news of a key may have been in a damaged block.
func (c *check) isLost(key []byte, version uint64) bool {
	return slices.ContainsFunc(c.lost, func(s keySpan) bool {
		return (s.before == 0 || version < s.before) && string(key) >= string(s.first) && (s.last == nil || string(key) <= string(s.last))
	})
}

func (c *check) marks(ctx context.Context) error {
	return c.each(ctx, []byte{prefixGarbage}, false, func(item *badger.Item) error {
		ref, err := parseGarbageKey(item.Key())
		if err != nil {
			c.unknown(item.Key())
			return nil
		}
		c.garbage[ref] = true
		return nil
	})
}

// chunks looks for chunks that no run reads. That a run has all of its own is seen when it is read.
func (c *check) chunks(ctx context.Context) error {
	var last runRef
	return c.each(ctx, []byte{prefixChunk}, false, func(item *badger.Item) error {
		key := item.Key()
		if len(key) != garbageKeyLen+4+1 {
			c.unknown(key)
			return nil
		}
		mark := slices.Clone(key[:garbageKeyLen])
		mark[0] = prefixGarbage
		ref, err := parseGarbageKey(mark)
		if err != nil {
			return err
		}
		column := key[garbageKeyLen+4]
		if s, err := schemaOf(ref.table); err != nil || column < measureColumn && !slices.Contains(s.columns, Column(column)) ||
			column >= measureColumn && int(column-measureColumn) >= s.measures && column != wholeColumn {
			c.unknown(key)
			return nil
		}
		if !c.runs[ref] && !c.garbage[ref] && !c.removed[ref.site] && ref != last {
			last = ref
			drop := func() error { return errors.Join(c.keep(ref.runKey(prefixChunk)), c.db.dropChunks(ref)) }
			c.add(drop, "delete them", "%s: it has chunks, and does not count", c.named(ref))
		}
		return nil
	})
}

// rest looks at fingerprints of imports, and at whatever else there is.
func (c *check) rest(ctx context.Context) error {
	return c.each(ctx, nil, false, func(item *badger.Item) error {
		key := item.Key()
		switch key[0] {
		case prefixHeader, prefixChunk, prefixGarbage, prefixRecord:
		case prefixImport:
			if len(key) != len(importKey(0, Fingerprint{})) {
				c.unknown(key)
			} else if site := binary.BigEndian.Uint32(key[1:]); c.sites[site].ID == 0 && !c.removed[site] {
				c.unknown(key)
			}
		case prefixFiller:
			if len(key) > 1 {
				c.unknown(key)
			}
		default:
			c.unknown(key)
		}
		return nil
	})
}

// lostDomain is the name of a site whose own name is lost. No real one ends like this.
func lostDomain(site uint32) string { return "lost-site-" + strconv.Itoa(int(site)) + ".invalid" }

// remakeSite makes a record for a site that has counts.
func (c *check) remakeSite(site uint32) error {
	return c.db.update(func(txn *badger.Txn) error {
		s := Site{ID: site, Domain: lostDomain(site), TimeZone: "UTC", Created: c.db.now().UTC()}
		var next uint32
		if err := getRecord(txn, recordNextSite, "", &next); err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if next <= site {
			if err := setRecord(txn, recordNextSite, "", site+1, 0); err != nil {
				return err
			}
		}
		return setRecord(txn, recordSite, s.Domain, s, 0)
	})
}

func (c *check) setNext(next uint32) error {
	return c.db.update(func(txn *badger.Txn) error { return setRecord(txn, recordNextSite, "", next, 0) })
}
