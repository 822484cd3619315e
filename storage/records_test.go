package storage

import (
	"errors"
	"testing"
	"time"
)

func TestCleanDomain(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got, err := CleanDomain(in); got != want || err != nil {
			t.Errorf("CleanDomain(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
	f("example.com", "example.com")
	f(" HTTPS://www.Example.com/path?x ", "example.com")
	f("shop.example.co.uk.", "shop.example.co.uk")
	f("localhost", "localhost")
	f("bücher.example", "bücher.example")
	bad := func(in string) {
		t.Helper()
		if got, err := CleanDomain(in); err == nil {
			t.Errorf("CleanDomain(%q) = %q, want an error", in, got)
		}
	}
	bad("")
	bad("   ")
	bad("a..b")
	bad("a b.com")
	bad("example.com:8080")
	bad("<script>.com")
	bad("example.com?x")
}

func TestAddSite(t *testing.T) {
	dir := t.TempDir()
	db := mustOpen(t, dir)
	s, err := db.AddSite("www.Example.com", "Europe/Berlin")
	if err != nil || s.Domain != "example.com" || s.Location().String() != "Europe/Berlin" {
		t.Fatalf("AddSite = %+v, %v", s, err)
	}
	if _, err := db.AddSite("example.com", ""); !errors.Is(err, ErrExists) {
		t.Errorf("AddSite twice = %v", err)
	}
	for _, zone := range []string{"Europe/Nowhere", "Local", "../etc"} {
		if _, err := db.AddSite("zone.example", zone); err == nil {
			t.Errorf("AddSite with zone %q: want an error", zone)
		}
	}
	db.Close()
	db = mustOpen(t, dir)
	if got, ok := db.Site("example.com"); !ok || got.ID != s.ID || got.Location().String() != "Europe/Berlin" {
		t.Errorf("after reopening: %+v, %v", got, ok)
	}
}

func TestTokens(t *testing.T) {
	db := mustOpen(t, t.TempDir())
	site := mustSite(t, db, "example.com")
	tok, secret, err := db.CreateToken(site.ID, ScopeStats)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := db.TokenOf(secret); err != nil || got.Site != site.ID {
		t.Errorf("TokenOf = %+v, %v", got, err)
	}
	if _, err := db.TokenOf(secret + "x"); !errors.Is(err, ErrNotFound) {
		t.Errorf("TokenOf a wrong secret = %v", err)
	}
	if all, err := db.Tokens(); err != nil || len(all) != 1 || all[0].ID != tok.ID {
		t.Errorf("Tokens = %+v, %v", all, err)
	}
	if err := db.RevokeToken(tok.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := db.TokenOf(secret); !errors.Is(err, ErrNotFound) {
		t.Errorf("TokenOf a revoked token = %v", err)
	}
	if err := db.RevokeToken(tok.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("RevokeToken twice = %v", err)
	}
}

func TestTokenAllowsOneThing(t *testing.T) {
	db := mustOpen(t, t.TempDir())
	site := mustSite(t, db, "example.com")
	for scope, want := range map[Scope][2]bool{ScopeStats: {true, false}, ScopeCount: {false, true}, "": {true, false}, "all": {}} {
		_, secret, err := db.CreateToken(site.ID, scope)
		if err != nil {
			t.Fatal(err)
		}
		tok, err := db.TokenOf(secret)
		if got := [2]bool{tok.May(ScopeStats), tok.May(ScopeCount)}; err != nil || got != want {
			t.Errorf("token of scope %q may %v (%v), want %v", scope, got, err, want)
		}
	}
}

func TestSetupLinkWorksOnceAndForAWhile(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	db, err := Open(t.TempDir(), Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if issued, _, err := db.SetupState(); issued || err != nil {
		t.Errorf("SetupState at first = %v, %v", issued, err)
	}
	old, err := db.CreateSetup(30 * time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(30 * time.Minute)
	if err := db.CheckSetup(old); !errors.Is(err, ErrNotFound) {
		t.Errorf("CheckSetup after its time = %v", err)
	}
	secret, err := db.CreateSetup(30 * time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.CheckSetup(secret); err != nil {
		t.Error(err)
	}
	login, err := db.CreateLogin(time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.FinishSetup(secret, Owner{PasswordHash: "x"}); err != nil {
		t.Fatal(err)
	}
	if err := db.CheckLogin(login); !errors.Is(err, ErrNotFound) {
		t.Errorf("CheckLogin of a login before set-up = %v", err)
	}
	if err := db.FinishSetup(secret, Owner{PasswordHash: "y"}); !errors.Is(err, ErrNotFound) {
		t.Errorf("FinishSetup twice = %v", err)
	}
	if o, ok, err := db.Owner(); !ok || o.PasswordHash != "x" || err != nil {
		t.Errorf("Owner = %+v, %v, %v", o, ok, err)
	}
}

func TestLoginsEnd(t *testing.T) {
	now := time.Now()
	db, err := Open(t.TempDir(), Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	secret, err := db.CreateLogin(time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.CheckLogin(secret); err != nil {
		t.Error(err)
	}
	if err := db.CheckLogin("x"); !errors.Is(err, ErrNotFound) {
		t.Errorf("CheckLogin of a wrong secret = %v", err)
	}
	other, err := db.CreateLogin(time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.EndLogin(other); err != nil {
		t.Fatal(err)
	}
	if err := db.CheckLogin(other); !errors.Is(err, ErrNotFound) {
		t.Errorf("CheckLogin of an ended login = %v", err)
	}
	now = now.Add(time.Hour)
	if err := db.CheckLogin(secret); !errors.Is(err, ErrNotFound) {
		t.Errorf("CheckLogin after its time = %v", err)
	}
}
