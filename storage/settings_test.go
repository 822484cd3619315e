package storage

import (
	"errors"
	"reflect"
	"testing"
)

func TestSettings(t *testing.T) {
	dir := t.TempDir()
	db := mustOpen(t, dir)
	for _, d := range []string{"one.example", "two.example"} {
		if _, err := db.AddSite(d, ""); err != nil {
			t.Fatal(err)
		}
	}
	want := Settings{Aliases: []string{"7", "old.example"}, Query: []string{"p"}, Exclude: Exclusions{Countries: []string{"DE"}}}
	if _, err := db.ChangeSettings("one.example", func(s *Settings) error {
		*s = want.clone()
		s.Aliases = []string{"old.example", "7", "7"}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	seen, _ := db.Site("one.example")
	no := errors.New("no")
	if _, err := db.ChangeSettings("one.example", func(s *Settings) error { s.Query[0] = "x"; return no }); !errors.Is(err, no) {
		t.Errorf("a change that is refused: %v", err)
	}
	if !reflect.DeepEqual(seen.Settings, want) {
		t.Errorf("a change has written to settings in use: %+v", seen.Settings)
	}
	for name, alias := range map[string]string{"alias of another": "7", "domain of another": "one.example"} {
		_, err := db.ChangeSettings("two.example", func(s *Settings) error { s.Aliases = []string{alias}; return nil })
		if !errors.Is(err, ErrExists) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := db.AddSite("old.example", ""); !errors.Is(err, ErrExists) {
		t.Errorf("a site with the name of an alias: %v", err)
	}
	if _, err := db.ChangeSettings("nobody.example", func(*Settings) error { return nil }); !errors.Is(err, ErrNotFound) {
		t.Errorf("an unknown site: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = mustOpen(t, dir)
	for name, domain := range map[string]string{"7": "one.example", "old.example": "one.example", "two.example": "two.example", "8": ""} {
		if s, _ := db.SiteNamed(name); s.Domain != domain {
			t.Errorf("%s is %q, want %q", name, s.Domain, domain)
		}
	}
	if s, _ := db.Site("one.example"); !reflect.DeepEqual(s.Settings, want) {
		t.Errorf("settings after a restart: %+v", s.Settings)
	}
}
