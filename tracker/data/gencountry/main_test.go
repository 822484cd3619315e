package main

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/oschwald/geoip2-golang/v2"
)

const header = "# Generated: Thu, 25 Jun 2026 04:33:59 GMT\n#\n"

// 16777216 is 1.0.0.0.
const small4 = header + "16777216,16777471,AU\n16777472,16777599,AU\n16777600,16777727,UK\n16777728,16777983,??\n167772160,167772415,DE\n"
const small6 = header + "2a00::,2a00:0:ffff:ffff:ffff:ffff:ffff:ffff,FR\n2a00:1::,2a00:1:ffff:ffff:ffff:ffff:ffff:ffff,EU\n"

func TestBuild(t *testing.T) {
	var db bytes.Buffer
	if err := build(&db, [len(inputs)][]byte{[]byte(small4), []byte(small6)}); err != nil {
		t.Fatal(err)
	}
	reader, err := geoip2.OpenBytes(db.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]string{
		"0.255.255.255": "",
		"1.0.0.0":       "AU",
		"1.0.0.255":     "AU",
		"1.0.1.127":     "AU",
		"1.0.1.128":     "GB", // UK is not a code of ISO 3166-1
		"1.0.1.255":     "GB",
		"1.0.2.0":       "", // ??
		"10.0.0.1":      "", // private, although the table names a country
		"2a00::1":       "FR",
		"2a00:1::1":     "", // a region
		"2a00:2::1":     "",
	} {
		record, err := reader.Country(netip.MustParseAddr(addr))
		if err != nil {
			t.Fatal(err)
		}
		if got := record.Country.ISOCode; got != want {
			t.Errorf("country of %s is %q, want %q", addr, got, want)
		}
	}
	if got := reader.Metadata().BuildEpoch; got != 1782362039 {
		t.Errorf("build epoch is %d, want that of the tables' header", got)
	}
}

func TestBuildRefusesBrokenTables(t *testing.T) {
	for _, table := range []string{
		"16777216,16777471,AU\n", // no date
		header + "16777216,AU\n",
		header + "16777471,16777216,AU\n",
		header + "16777216,2a00::,AU\n",
		header + "1677721x,16777471,AU\n",
	} {
		if err := build(&bytes.Buffer{}, [len(inputs)][]byte{[]byte(table), []byte(small6)}); err == nil {
			t.Errorf("table %q was taken", table)
		}
	}
}

func TestRunKeepsOutputOfOtherInputs(t *testing.T) {
	from, out := t.TempDir(), filepath.Join(t.TempDir(), "country.mmdb")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(from, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("geoip", small4)
	write("geoip6", small6)
	if err := run(from, out, true); err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	expectSame := func(when string) {
		t.Helper()
		if err := run(from, out, false); err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		if got, err := os.ReadFile(out); err != nil || !bytes.Equal(got, first) {
			t.Errorf("%s: the output has changed (%v)", when, err)
		}
	}
	expectSame("same inputs")
	write("geoip", header+"16777216,16777471,DE\n")
	expectSame("other inputs")
	if err := os.Remove(filepath.Join(from, "geoip")); err != nil {
		t.Fatal(err)
	}
	expectSame("input missing")

	write("geoip", header+"16777216,16777471,DE\n")
	if err := run(from, out, true); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(out); bytes.Equal(got, first) {
		t.Error("-update has not taken over the new inputs")
	}
}

// The committed database must be what its recorded inputs make of it.
func TestCommittedDatabaseIsReproducible(t *testing.T) {
	tables, err := readInputs("/usr/share/tor", "../country.sha256", false)
	if err != nil {
		t.Skipf("needs Debian's tor-geoipdb in the very version that the database was made from: %v", err)
	}
	var db bytes.Buffer
	if err := build(&db, tables); err != nil {
		t.Fatal(err)
	}
	committed, err := os.ReadFile("../country.mmdb")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(db.Bytes(), committed) {
		t.Error("country.mmdb differs from what its inputs give; run go generate ./tracker")
	}
}
