package storage

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// Site is a web site that is counted.
type Site struct {
	ID       uint32    `json:"id"`
	Domain   string    `json:"domain"`   // lower case, without www.
	TimeZone string    `json:"timezone"` // IANA name
	Created  time.Time `json:"created"`
	Keep     Retention `json:"keep,omitzero"`
	Settings Settings  `json:"settings,omitzero"`

	location *time.Location
}

// Location returns the site's time zone.
func (s Site) Location() *time.Location {
	if s.location == nil {
		return time.UTC
	}
	return s.location
}

// siteIndex is the sites in memory; it is replaced as a whole, so that readers need no lock.
type siteIndex struct {
	byDomain map[string]Site
	byAlias  map[string]Site
	byID     map[uint32]Site
	sorted   []Site
}

func newSiteIndex(sites []Site) *siteIndex {
	x := &siteIndex{byDomain: make(map[string]Site), byAlias: make(map[string]Site), byID: make(map[uint32]Site), sorted: sites}
	slices.SortFunc(sites, func(a, b Site) int { return cmp.Compare(a.Domain, b.Domain) })
	for _, s := range sites {
		x.byDomain[s.Domain] = s
		x.byID[s.ID] = s
		for _, alias := range s.Settings.Aliases {
			x.byAlias[alias] = s
		}
	}
	return x
}

func (db *DB) loadSites() error {
	var sites []Site
	err := db.view(func(txn *badger.Txn) error {
		return eachRecord(txn, recordSite, func(v []byte) error {
			var s Site
			if err := json.Unmarshal(v, &s); err != nil {
				return corruptf("record site: %v", err)
			}
			loc, err := time.LoadLocation(s.TimeZone)
			if err != nil {
				return fmt.Errorf("site %s: %w", s.Domain, err)
			}
			s.location = loc
			sites = append(sites, s)
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("read sites: %w", err)
	}
	db.sites.Store(newSiteIndex(sites))
	return nil
}

// alive reports whether a site exists.
func (db *DB) alive(site uint32) bool {
	_, ok := db.sites.Load().byID[site]
	return ok
}

// Site returns the site of a domain (as CleanDomain writes it), without touching the disk.
func (db *DB) Site(domain string) (Site, bool) {
	s, ok := db.sites.Load().byDomain[domain]
	return s, ok
}

// SiteByID returns the site of a number, such as that of a token, without touching the disk.
func (db *DB) SiteByID(id uint32) (Site, bool) {
	s, ok := db.sites.Load().byID[id]
	return s, ok
}

// Sites returns all sites by domain.
func (db *DB) Sites() []Site { return slices.Clone(db.sites.Load().sorted) }

// CleanDomain brings a domain as people write it (with scheme, www., capitals, a path) to the form that
// sites are kept under. It returns an error that says what is wrong with it.
func CleanDomain(domain string) (string, error) {
	d := strings.ToLower(strings.TrimSpace(domain))
	if _, rest, ok := strings.Cut(d, "://"); ok {
		d = rest
	}
	d, _, _ = strings.Cut(d, "/")
	d = strings.TrimSuffix(strings.TrimPrefix(d, "www."), ".")
	if d == "" || len(d) > 253 {
		return "", fmt.Errorf("domain %q: want a name such as example.com", domain)
	}
	for _, label := range strings.Split(d, ".") {
		if label == "" || len(label) > 63 {
			return "", fmt.Errorf("domain %q: want a name such as example.com", domain)
		}
	}
	for _, r := range d {
		if strings.ContainsRune(" \t\r\n\"'<>&?#%\\@,;:()[]{}|^`$!*+=~", r) || r < 0x20 || r == 0x7f {
			return "", fmt.Errorf("domain %q: %q is not allowed in it; want a name such as example.com, without port", domain, r)
		}
	}
	return d, nil
}

// CleanZone checks the name of a time zone as people write it; empty means UTC. It returns an error that says
// what is wrong with it.
func CleanZone(zone string) (string, error) {
	zone = cmp.Or(strings.TrimSpace(zone), "UTC")
	// LoadLocation takes "Local" for the zone of this machine, which says nothing on another one.
	if _, err := time.LoadLocation(zone); err != nil || zone == "Local" {
		return "", fmt.Errorf("time zone %q: unknown; want a name such as Europe/Berlin", zone)
	}
	return zone, nil
}

// AddSite creates a site, of a domain and a time zone as CleanDomain and CleanZone take them. Errors are theirs, wrap
// ErrExists, or are of the store.
func (db *DB) AddSite(domain, zone string) (Site, error) {
	domain, err := CleanDomain(domain)
	if err != nil {
		return Site{}, err
	}
	if zone, err = CleanZone(zone); err != nil {
		return Site{}, err
	}
	loc, err := time.LoadLocation(zone)
	if err != nil {
		return Site{}, err
	}
	db.records.Lock()
	defer db.records.Unlock()
	if other, ok := db.SiteNamed(domain); ok && other.Domain != domain {
		return Site{}, fmt.Errorf("site %s: %w, as an alias of %s", domain, ErrExists, other.Domain)
	} else if ok {
		return Site{}, fmt.Errorf("site %s: %w", domain, ErrExists)
	}
	s := Site{Domain: domain, TimeZone: zone, Created: db.now().UTC(), location: loc}
	err = db.update(func(txn *badger.Txn) error {
		s.ID = 1
		if err := getRecord(txn, recordNextSite, "", &s.ID); err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if err := setRecord(txn, recordNextSite, "", s.ID+1, 0); err != nil {
			return err
		}
		return setRecord(txn, recordSite, domain, s, 0)
	})
	if err != nil {
		return Site{}, fmt.Errorf("add site %s: %w", domain, err)
	}
	db.sites.Store(newSiteIndex(append(db.Sites(), s)))
	return s, nil
}

// changeSite changes the record of a site, or returns ErrNotFound or the error of change. What change does to its number and
// domain is lost.
func (db *DB) changeSite(domain string, change func(s *Site) error) error {
	db.records.Lock()
	defer db.records.Unlock()
	s, ok := db.Site(domain)
	if !ok {
		return ErrNotFound
	}
	changed := s
	changed.Settings = s.Settings.clone()
	if err := change(&changed); err != nil {
		return err
	}
	changed.ID, changed.Domain = s.ID, s.Domain
	err := db.update(func(txn *badger.Txn) error { return setRecord(txn, recordSite, s.Domain, changed, 0) })
	if err != nil {
		return err
	}
	db.replaceSite(changed)
	return nil
}

// replaceSite puts a changed site into the index. records must be held.
func (db *DB) replaceSite(s Site) {
	sites := slices.DeleteFunc(db.Sites(), func(o Site) bool { return o.ID == s.ID })
	db.sites.Store(newSiteIndex(append(sites, s)))
}

// RemoveSite deletes a site, its counts and its tokens, or returns ErrNotFound. Hits that are on their way
// are dropped. What a crash leaves undone is out of reach, and is deleted at the next start.
func (db *DB) RemoveSite(domain string) error {
	db.records.Lock()
	defer db.records.Unlock()
	db.structure.Lock()
	defer db.structure.Unlock()
	s, ok := db.Site(domain)
	if !ok {
		return fmt.Errorf("site %s: %w", domain, ErrNotFound)
	}
	tokens, err := db.Tokens()
	if err != nil {
		return fmt.Errorf("remove site %s: %w", domain, err)
	}
	err = db.update(func(txn *badger.Txn) error { return dropSiteRecord(txn, s, tokens) })
	if err != nil {
		return fmt.Errorf("remove site %s: %w", domain, err)
	}
	db.sites.Store(newSiteIndex(slices.DeleteFunc(db.Sites(), func(o Site) bool { return o.ID == s.ID })))
	db.forgetSite(s.ID)
	err = db.deleteSiteKeys(s.ID)
	db.merges.left(true)
	if err != nil {
		return fmt.Errorf("remove site %s: it is gone, but not all of its data yet; the next start deletes the rest: %w", domain, err)
	}
	return nil
}

// forgetSite drops what is in memory of a site that has just vanished. The commit that was under way meanwhile is done then,
// and later ones leave the site out. It does not go through the queue, which may be full.
func (db *DB) forgetSite(site uint32) {
	db.fresh.order.Lock()
	defer db.fresh.order.Unlock()
	db.fresh.forget(func(p partition) bool { return p.site == site })
}

// dropSiteRecord deletes the record of a site and those of its tokens, and notes that its data is to follow.
func dropSiteRecord(txn *badger.Txn, s Site, tokens []Token) error {
	for _, t := range tokens {
		if t.Site != s.ID {
			continue
		}
		if err := txn.Delete(recordKey(recordToken, t.ID)); err != nil {
			return err
		}
	}
	if err := setRecord(txn, recordRemoved, strconv.Itoa(int(s.ID)), s.ID, 0); err != nil {
		return err
	}
	return txn.Delete(recordKey(recordSite, s.Domain))
}

// deleteSiteKeys deletes headers before chunks, so that no header ever lacks its chunks. Garbage marks stay: a merge or
// an import that is under way may still write chunks, and deletes them itself, or the next start does.
func (db *DB) deleteSiteKeys(site uint32) error {
	db.merges.forget(site)
	for _, prefix := range []byte{prefixHeader, prefixChunk, prefixImport} {
		if err := db.deletePrefix(siteKeys(prefix, site)); err != nil {
			return fmt.Errorf("delete site %d: %w", site, err)
		}
	}
	return db.update(func(txn *badger.Txn) error {
		return txn.Delete(recordKey(recordRemoved, strconv.Itoa(int(site))))
	})
}

// sweepSites finishes removals that a crash has interrupted.
func (db *DB) sweepSites() error {
	var removed []uint32
	err := db.view(func(txn *badger.Txn) error {
		return eachRecord(txn, recordRemoved, func(v []byte) error {
			var id uint32
			err := json.Unmarshal(v, &id)
			removed = append(removed, id)
			return err
		})
	})
	for _, id := range removed {
		err = errors.Join(err, db.deleteSiteKeys(id))
	}
	return err
}
