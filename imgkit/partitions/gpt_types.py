"""Names of GPT partition types and attribute bits: facts published by those who coined them.

Sources: UEFI 2.10 table 5-7; Microsoft's PARTITION_INFORMATION_GPT; the UAPI Group's Discoverable Partitions Specification;
Apple's TN2166; the FreeBSD, NetBSD, OpenBSD, ChromeOS, VMware, Ceph and Haiku documentation.
"""

from __future__ import annotations

from typing import Final

GPT_TYPES: Final[dict[str, str]] = {
    # UEFI and boot loaders
    "C12A7328-F81F-11D2-BA4B-00A0C93EC93B": "EFI system partition",
    "024DEE41-33E7-11D3-9D69-0008C781F39F": "MBR partition scheme",
    "21686148-6449-6E6F-744E-656564454649": "BIOS boot (GRUB)",
    "D3BFE2DE-3DAF-11DF-BA40-E3A556D89593": "Intel Fast Flash (iFFS)",
    "F4019732-066E-4E12-8273-346C5641494F": "Sony boot",
    "BFBFAFE7-A34F-448A-9A5B-6213EB736C22": "Lenovo boot",
    "9E1A2D38-C612-4316-AA26-8B49521E5A8B": "PowerPC PReP boot",
    "7412F7D5-A156-4B13-81DC-867174929325": "ONIE boot",
    "D4E6E2CD-4469-46F3-B5CB-1BFF57AFC149": "ONIE configuration",
    # Microsoft
    "E3C9E316-0B5C-4DB8-817D-F92DF00215AE": "Microsoft reserved",
    "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7": "Microsoft basic data",
    "5808C8AA-7E8F-42E0-85D2-E1E90434CFB3": "Windows dynamic disk metadata (LDM)",
    "AF9B60A0-1431-4F62-BC68-3311714A69AD": "Windows dynamic disk data (LDM)",
    "DE94BBA4-06D1-4D40-A16A-BFD50179D6AC": "Windows recovery",
    "E75CAF8F-F680-4CEE-AFA3-B001E56EFC2D": "Windows Storage Spaces",
    "558D43C5-A1AC-43C0-AAC8-D1472B2923D1": "Windows Storage Replica",
    # IBM, HP
    "37AFFC90-EF7D-4E96-91C3-2D7AE055B174": "IBM GPFS",
    "75894C1E-3AEB-11D3-B7C1-7B03A0000000": "HP-UX data",
    "E2A1E728-32E3-11D6-A682-7B03A0000000": "HP-UX service",
    # Linux
    "0FC63DAF-8483-4772-8E79-3D69D8477DE4": "Linux filesystem data",
    "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F": "Linux swap",
    "E6D6D379-F507-44C2-A23C-238F2A3DF928": "Linux LVM",
    "A19D880F-05FC-4D3B-A006-743F0F84911E": "Linux RAID",
    "CA7D7CCB-63ED-4C53-861C-1742536059CC": "Linux LUKS",
    "7FFEC5C9-2D00-49B7-8941-3EA10A5586B7": "Linux plain dm-crypt",
    "8DA63339-0007-60C0-C436-083AC8230908": "Linux reserved",
    "BC13C2FF-59E6-4262-A352-B275FD6F7172": "Linux extended boot loader (XBOOTLDR)",
    "933AC7E1-2EB4-4F13-B844-0E14E2AEF915": "Linux /home",
    "773F91EF-66D4-49B5-BD83-D683BF40AD16": "Linux per-user home",
    "3B8F8425-20E0-4F3B-907F-1A25A76F98E8": "Linux /srv",
    "4D21B016-B534-45C2-A9FB-5C16E091FD2D": "Linux /var",
    "7EC6F557-3BC5-4ACA-B293-16EF5DF639D1": "Linux /var/tmp",
    "44479540-F297-41B2-9AF7-D131D5F0458A": "Linux root (x86)",
    "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709": "Linux root (x86-64)",
    "69DAD710-2CE4-4E3C-B16C-21A1D49ABED3": "Linux root (32-bit ARM)",
    "B921B045-1DF0-41C3-AF44-4C6F280D3FAE": "Linux root (64-bit ARM)",
    "993D8D3D-F80E-4225-855A-9DAF8ED7EA97": "Linux root (Itanium)",
    "77055800-792C-4F94-B39A-98C91B762BB6": "Linux root (64-bit LoongArch)",
    "37C58C8A-D913-4156-A25F-48B1B64E07F0": "Linux root (32-bit MIPS, little-endian)",
    "700BDA43-7A34-4507-B179-EEB93D7A7CA3": "Linux root (64-bit MIPS, little-endian)",
    "1DE3F1EF-FA98-47B5-8DCD-4A860A654D78": "Linux root (32-bit PowerPC)",
    "912ADE1D-A839-4913-8964-A10EEE08FBD2": "Linux root (64-bit PowerPC, big-endian)",
    "C31C45E6-3F39-412E-80FB-4809C4980599": "Linux root (64-bit PowerPC, little-endian)",
    "60D5A7FE-8E7D-435C-B714-3DD8162144E1": "Linux root (32-bit RISC-V)",
    "72EC70A6-CF74-40E6-BD49-4BDA08E8F224": "Linux root (64-bit RISC-V)",
    "08A7ACEA-624C-4A20-91E8-6E0FA67D23F9": "Linux root (s390)",
    "5EEAD9A9-FE09-4A1E-A1D7-520D00531306": "Linux root (s390x)",
    "75250D76-8CC6-458E-BD66-BD47CC81A812": "Linux /usr (x86)",
    "8484680C-9521-48C6-9C11-B0720656F69E": "Linux /usr (x86-64)",
    "7D0359A3-02B3-4F0A-865C-654403E70625": "Linux /usr (32-bit ARM)",
    "B0E01050-EE5F-4390-949A-9101B17104E9": "Linux /usr (64-bit ARM)",
    "BEAEC34B-8442-439B-A40B-984381ED097D": "Linux /usr (64-bit RISC-V)",
    "D13C5D3B-B5D1-422A-B29F-9454FDC89D76": "Linux root verity (x86)",
    "2C7357ED-EBD2-46D9-AEC1-23D437EC2BF5": "Linux root verity (x86-64)",
    "7386CDF2-203C-47A9-A498-F2ECCE45A2D6": "Linux root verity (32-bit ARM)",
    "DF3300CE-D69F-4C92-978C-9BFB0F38D820": "Linux root verity (64-bit ARM)",
    "B6ED5582-440B-4209-B8DA-5FF7C419EA3D": "Linux root verity (64-bit RISC-V)",
    "8F461B0D-14EE-4E81-9AA9-049B6FB97ABD": "Linux /usr verity (x86)",
    "77FF5F63-E7B6-4633-ACF4-1565B864C0E6": "Linux /usr verity (x86-64)",
    "6E11A4E7-FBCA-4DED-B9E9-E1A512BB664E": "Linux /usr verity (64-bit ARM)",
    "41092B05-9FC8-4523-994F-2DEF0408B176": "Linux root verity signature (x86-64)",
    "6DB69DE6-29F4-4758-A7A5-962190F00CE3": "Linux root verity signature (64-bit ARM)",
    "E7BB33FB-06CF-4E81-8273-E543B413E2E2": "Linux /usr verity signature (x86-64)",
    "C23CE4FF-44BD-4B00-B2D4-B41B3419E02A": "Linux /usr verity signature (64-bit ARM)",
    # Apple
    "48465300-0000-11AA-AA11-00306543ECAC": "Apple HFS/HFS+",
    "7C3457EF-0000-11AA-AA11-00306543ECAC": "Apple APFS",
    "55465300-0000-11AA-AA11-00306543ECAC": "Apple UFS",
    "52414944-0000-11AA-AA11-00306543ECAC": "Apple RAID",
    "52414944-5F4F-11AA-AA11-00306543ECAC": "Apple RAID, offline",
    "426F6F74-0000-11AA-AA11-00306543ECAC": "Apple boot (Recovery HD)",
    "4C616265-6C00-11AA-AA11-00306543ECAC": "Apple label",
    "5265636F-7665-11AA-AA11-00306543ECAC": "Apple TV recovery",
    "53746F72-6167-11AA-AA11-00306543ECAC": "Apple Core Storage (FileVault)",
    "69646961-6700-11AA-AA11-00306543ECAC": "Apple Silicon iBoot container",
    "52637672-7900-11AA-AA11-00306543ECAC": "Apple Silicon recovery",
    # BSD
    "516E7CB4-6ECF-11D6-8FF8-00022D09712B": "FreeBSD disklabel",
    "83BD6B9D-7F41-11DC-BE0B-001560B84F0F": "FreeBSD boot",
    "516E7CB5-6ECF-11D6-8FF8-00022D09712B": "FreeBSD swap",
    "516E7CB6-6ECF-11D6-8FF8-00022D09712B": "FreeBSD UFS",
    "516E7CBA-6ECF-11D6-8FF8-00022D09712B": "FreeBSD ZFS",
    "516E7CB8-6ECF-11D6-8FF8-00022D09712B": "FreeBSD Vinum",
    "49F48D32-B10E-11DC-B99B-0019D1879648": "NetBSD swap",
    "49F48D5A-B10E-11DC-B99B-0019D1879648": "NetBSD FFS",
    "49F48D82-B10E-11DC-B99B-0019D1879648": "NetBSD LFS",
    "49F48DAA-B10E-11DC-B99B-0019D1879648": "NetBSD RAID",
    "2DB519C4-B10F-11DC-B99B-0019D1879648": "NetBSD concatenated",
    "2DB519EC-B10F-11DC-B99B-0019D1879648": "NetBSD encrypted",
    "824CC7A0-36A8-11E3-890A-952519AD3F61": "OpenBSD",
    "85D5E45A-237C-11E1-B4B3-E89A8F7FC3A7": "MidnightBSD disklabel",
    "85D5E45E-237C-11E1-B4B3-E89A8F7FC3A7": "MidnightBSD boot",
    # Solaris and ZFS
    "6A82CB45-1DD2-11B2-99A6-080020736631": "Solaris boot",
    "6A85CF4D-1DD2-11B2-99A6-080020736631": "Solaris root",
    "6A87C46F-1DD2-11B2-99A6-080020736631": "Solaris swap",
    "6A8B642B-1DD2-11B2-99A6-080020736631": "Solaris backup",
    "6A898CC3-1DD2-11B2-99A6-080020736631": "Solaris /usr, ZFS",
    "6A8EF2E9-1DD2-11B2-99A6-080020736631": "Solaris /var",
    "6A90BA39-1DD2-11B2-99A6-080020736631": "Solaris /home",
    "6A945A3B-1DD2-11B2-99A6-080020736631": "Solaris reserved",
    # ChromeOS, Android
    "FE3A2A5D-4F32-41A7-B725-ACCC3285A309": "ChromeOS kernel",
    "3CB8E202-3B7E-47DD-8A3C-7FF2A13CFCEC": "ChromeOS root",
    "CAB6E88E-ABF3-4102-A07A-D4BB9BE3C1D3": "ChromeOS firmware",
    "2E0A753D-9E48-43B0-8337-B15192CB1B5E": "ChromeOS reserved",
    "19A710A2-B3CA-11E4-B026-10604B889DCF": "Android metadata",
    "193D1EA4-B3CA-11E4-B075-10604B889DCF": "Android expanded storage",
    # Virtualisation and storage
    "AA31E02A-400F-11DB-9590-000C2911D1B8": "VMware VMFS",
    "9D275380-40AD-11DB-BF97-000C2911D1B8": "VMware diagnostic (vmkcore)",
    "381CFCCC-7288-11E0-92EE-000C2911D0B2": "VMware vSAN",
    "77719A0C-A4A0-11E3-A47E-000C29745A24": "VMware Virsto",
    "9198EFFC-31C0-11DB-8F78-000C2911D1B8": "VMware reserved",
    "45B0969E-9B03-4F30-B4C6-B4B80CEFF106": "Ceph journal",
    "45B0969E-9B03-4F30-B4C6-5EC00CEFF106": "Ceph journal, dm-crypt",
    "4FBD7E29-9D25-41B8-AFD0-062C0CEFF05D": "Ceph OSD",
    "4FBD7E29-9D25-41B8-AFD0-5EC00CEFF05D": "Ceph OSD, dm-crypt",
    "89C57F98-2FE5-4DC0-89C1-F3AD0CEFF2BE": "Ceph disk in creation",
    # Others
    "CEF5A9AD-73BC-4601-89F3-CDEEEEE321A1": "QNX 6",
    "C91818F9-8025-47AF-89D2-F030D7000C2C": "Plan 9",
    "42465331-3BA3-10F1-802A-4861696B7521": "Haiku BFS",
    "5B193300-FC78-40CD-8002-E86C45580B47": "SiFive first-stage boot loader",
    "2E54B353-1271-4842-806F-E436D6AF6985": "SiFive OpenSBI and U-Boot",
}

# UEFI 2.10, table 5-8: bits 0 to 2 mean the same for every type.
ATTRIBUTES: Final[dict[int, str]] = {0: "required", 1: "no-block-io", 2: "legacy-bios-bootable"}

_MICROSOFT: Final = {60: "read-only", 61: "shadow-copy", 62: "hidden", 63: "no-drive-letter"}
_DISCOVERABLE: Final = {59: "grow-file-system", 60: "read-only", 63: "no-auto"}
_CHROMEOS: Final = {
    48: "priority-1",
    49: "priority-2",
    50: "priority-4",
    51: "priority-8",
    52: "tries-1",
    53: "tries-2",
    54: "tries-4",
    55: "tries-8",
    56: "successful-boot",
}

# Bits 48 to 63 belong to whoever coined the type.
TYPE_ATTRIBUTES: Final[dict[str, dict[int, str]]] = {
    "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7": _MICROSOFT,
    "DE94BBA4-06D1-4D40-A16A-BFD50179D6AC": _MICROSOFT,
    "E3C9E316-0B5C-4DB8-817D-F92DF00215AE": _MICROSOFT,
    "FE3A2A5D-4F32-41A7-B725-ACCC3285A309": _CHROMEOS,
} | {
    kind: _DISCOVERABLE
    for kind, name in GPT_TYPES.items()
    if name.startswith(
        ("Linux root", "Linux /", "Linux swap", "Linux per-user", "Linux extended boot", "Linux filesystem")
    )
}
