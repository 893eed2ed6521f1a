"""What happens to drawn pictures before they are encoded."""
