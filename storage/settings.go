package storage

import (
	"errors"
	"fmt"
	"slices"
)

// Settings are what a site's owner decides about counting. The zero value is the default of each.
type Settings struct {
	// Aliases are other names under which a hit may call the site: further domains, the id that another product had given
	// it. No two sites share one.
	Aliases []string `json:"aliases,omitempty"`
	// Hosts are the hostnames that pages may have, *.example.com for all below one. Without any, all are allowed.
	Hosts []string `json:"hosts,omitempty"`
	// Query are the parameters of a page's query that belong to its path.
	Query []string `json:"query,omitempty"`
	// Fragment says that the fragment of an address is the route of a page.
	Fragment bool `json:"fragment,omitempty"`
	// City says that cities are counted, where the operator's file knows them.
	City bool `json:"city,omitempty"`

	Exclude Exclusions `json:"exclude,omitzero"`
}

// Exclusions are the hits that a site's owner does not want counted.
type Exclusions struct {
	Paths     []string `json:"paths,omitempty"`     // * stands for anything but a slash, ** for anything
	Countries []string `json:"countries,omitempty"` // ISO 3166-1 alpha-2
	Networks  []string `json:"networks,omitempty"`  // CIDR; they are the owner's own, and no visitor's
	Agents    []string `json:"agents,omitempty"`    // parts of user agents, in any case
	// Headless says that hits without the headers that every browser sends are left out. Programs that count on behalf of
	// pages send none either.
	Headless bool `json:"headless,omitempty"`
	// DataCentres says that hits from networks of data centres are left out.
	DataCentres bool `json:"data_centres,omitempty"`
}

// CleanAlias brings an alias to the form in which sites are found by it: that of a domain, which ids of other products fit too. It
// returns an error that says what is wrong with it.
func CleanAlias(name string) (string, error) {
	clean, err := CleanDomain(name)
	if err != nil {
		return "", fmt.Errorf("alias %q: want a domain, or an id such as 7 or 6f9b2c1e-0d4a-4c55-9a3e-2f7d1b8c0e11", name)
	}
	return clean, nil
}

// SiteNamed returns the site that a hit means by a name: its domain (as CleanDomain writes it) or one of its aliases. It does
// not touch the disk.
func (db *DB) SiteNamed(name string) (Site, bool) {
	x := db.sites.Load()
	if s, ok := x.byDomain[name]; ok {
		return s, true
	}
	s, ok := x.byAlias[name]
	return s, ok
}

// ChangeSettings changes the settings of a site. Errors are those of change, wrap ErrNotFound or ErrExists (an alias is the
// name of another site), or are of the store. change must leave values that mean something: the store does not look at
// them, but for aliases.
func (db *DB) ChangeSettings(domain string, change func(s *Settings) error) (Site, error) {
	var wrong error
	err := db.changeSite(domain, func(s *Site) error {
		if wrong = change(&s.Settings); wrong != nil {
			return wrong
		}
		for _, alias := range s.Settings.Aliases {
			if other, ok := db.SiteNamed(alias); ok && other.ID != s.ID {
				return fmt.Errorf("alias %q: %w as a name of %s", alias, ErrExists, other.Domain)
			}
		}
		slices.Sort(s.Settings.Aliases)
		s.Settings.Aliases = slices.Compact(s.Settings.Aliases)
		return nil
	})
	switch {
	case wrong != nil:
		return Site{}, wrong
	case errors.Is(err, ErrNotFound):
		return Site{}, fmt.Errorf("site %s: %w", domain, ErrNotFound)
	case err != nil:
		return Site{}, fmt.Errorf("change site %s: %w", domain, err)
	}
	s, _ := db.Site(domain)
	return s, nil
}

// clone copies the settings, so that a change does not write to those that hits are judged by meanwhile.
func (s Settings) clone() Settings {
	e := &s.Exclude
	for _, list := range []*[]string{&s.Aliases, &s.Hosts, &s.Query, &e.Paths, &e.Countries, &e.Networks, &e.Agents} {
		*list = slices.Clone(*list)
	}
	return s
}
